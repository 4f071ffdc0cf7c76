"""What a server is asked, and what is made of its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models.sampling.config import SamplingConfig
from tasks.models.server.process import ModelServer
from tasks.models.server.sampling import sample_from_server
from tasks.settings.errors import StageError
from tests.servers.openai_server import Body, FakeServer, answer_of

ASK = (Message("user", "what is 3 plus 4?"),)
CONFIG = SamplingConfig(samples=2, max_new_tokens=8)


def test_what_vllm_is_asked(fake: FakeServer, server: ModelServer, tokenizer: Any) -> None:
    config = SamplingConfig(
        samples=1, max_new_tokens=8, temperature=0.7, top_k=5, top_p=0.9, stop=("END",)
    )
    sample_from_server(server, tokenizer, "hh", [ASK], config, 0)
    probe, body = fake.bodies
    assert probe == {**body, "max_tokens": 1}
    seed = body.pop("seed")
    assert isinstance(seed, int)
    assert body == {
        "model": "fake",
        "prompt": tokenizer("\n\nHuman: what is 3 plus 4?\n\nAssistant:")["input_ids"],
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["END", "\n\nHuman:", "\n\nAssistant:"],
        "top_k": 5,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stop_token_ids": [tokenizer.eos_token_id],
        "return_token_ids": True,
    }


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_transformers_is_asked(
    fake: FakeServer, server: ModelServer, tokenizer: Any, temperature: float
) -> None:
    fake.be_transformers()
    config = SamplingConfig(samples=1, max_new_tokens=8, temperature=temperature, top_k=5)
    sample_from_server(server, tokenizer, "plain", [ASK], config, 0)
    assert fake.bodies[1]["prompt"] == "what is 3 plus 4?"
    assert "stop" not in fake.bodies[1]
    assert json.loads(fake.bodies[1]["generation_config"]) == {
        "do_sample": temperature > 0,
        "top_k": 5,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "eos_token_id": [tokenizer.eos_token_id],
    }


def test_reasons_texts_and_stop_strings(fake: FakeServer, served: Any, tokenizer: Any) -> None:
    answers = iter(
        [
            ("probe", "length", 1),
            (" it is 7 \n", "stop", 5),
            (" it is 7\n\nHuman: thanks", "stop", 7),
            (" it is", "length", 8),
            (" it is END of", "length", 8),
            ("", "stop", 1),
        ]
    )

    def reply(body: Body) -> Any:
        text, reason, tokens = next(answers)
        answer: Any = answer_of(body, text, reason)
        answer["usage"]["completion_tokens"] = tokens
        return answer

    fake.reply = reply
    config = SamplingConfig(samples=5, max_new_tokens=8, stop=("END",))
    alone = served(concurrency=1)
    (row,) = sample_from_server(alone, tokenizer, "hh", [ASK], config, 0)
    assert [(one.text, one.tokens, one.ended) for one in row] == [
        ("it is 7", 5, True),
        ("it is 7", 7, True),
        ("it is", 8, False),
        ("it is", 8, True),
        ("", 1, True),
    ]


@pytest.mark.parametrize(
    ("usage", "reason", "message"),
    [
        ({"prompt_tokens": 99}, "stop", "as 99 tokens, ours are"),
        ({"completion_tokens": 9}, "length", "drew 9 tokens(?s:.*)ignores max_tokens"),
        ({"completion_tokens": 5}, "length", "after 5 of 8 tokens: raise the context"),
    ],
)
def test_an_answer_to_another_question_is_refused(
    fake: FakeServer,
    server: ModelServer,
    tokenizer: Any,
    usage: dict[str, int],
    reason: str,
    message: str,
) -> None:
    fake.reply = lambda body: {**answer_of(body, "text", reason), "usage": usage}
    with pytest.raises(StageError, match=message):
        sample_from_server(server, tokenizer, "plain", [ASK], CONFIG, 0)


def test_ids_are_kept_where_they_are_the_whole_response(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    eos = tokenizer.eos_token_id
    words = tokenizer(" it is", add_special_tokens=False)["input_ids"]
    stop = tokenizer("\n\nHuman:", add_special_tokens=False)["input_ids"]
    cases = [
        ([*words, eos], "stop", True, True),  # ids, reason; kept, ended
        ([*words, *stop], "stop", False, True),
        ([*words, *words], "length", True, False),
        (words, "stop", False, True),  # what ended it is not among the ids
        ([*words, eos], "length", True, True),  # just in time
    ]
    for ids, reason, kept, ended in cases:
        answer = {"text": "what the server wrote", "finish_reason": reason, "token_ids": ids}
        usage = {"completion_tokens": len(ids)}
        fake.faults.extend([json.dumps({"choices": [answer], "usage": usage}).encode()] * 2)
        config = SamplingConfig(samples=1, max_new_tokens=len(ids))
        ((found,),) = sample_from_server(server, tokenizer, "hh", [ASK], config, 0)
        assert found.ids == (tuple(ids) if kept else None)
        assert found.ended == ended
        assert found.text.startswith("it is")


def test_tokens_are_counted_where_the_server_does_not(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    ids = tokenizer("it is", add_special_tokens=False)["input_ids"]
    fake.reply = lambda body: {**answer_of(body, "it is"), "usage": None}
    (row,) = sample_from_server(server, tokenizer, "plain", [ASK], CONFIG, 0)
    assert row[0].tokens == len(ids) + 1
