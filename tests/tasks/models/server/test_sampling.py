"""Sampling through a server: what is sent, what is made of the answers, and in which order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models.sampling.config import SamplingConfig
from tasks.models.server.process import ModelServer
from tasks.models.server.sampling import sample_from_server
from tasks.settings.errors import ConfigError, StageError
from tests.servers.openai_server import TRANSFORMERS_FIELDS, Body, FakeServer, answer_of
from tests.tasks.models.server.test_process import Notes

ASK = (Message("user", "what is 3 plus 4?"),)
CONFIG = SamplingConfig(samples=2, max_new_tokens=8)


def prompts(count: int) -> list[tuple[Message, ...]]:
    return [(Message("user", f"what is {n} plus 4?"),) for n in range(count)]


def test_results_stand_in_the_order_of_prompts_and_samples(
    fake: FakeServer, served: Callable[..., ModelServer], tokenizer: Any
) -> None:
    server = served(retries=60)  # all faults may meet one request

    def reply(body: Body) -> Any:
        time.sleep(random.Random(body["seed"]).random() / 50)
        return answer_of(body, f"{tokenizer.decode(body['prompt'])} {body['seed']}")

    fake.reply = reply
    faults = [None, None, None, (500, {}), "reset", b"{"]
    fake.faults.extend(random.Random(0).choices(faults, k=60))
    drawn, told = [], []
    for _ in range(2):
        drawn.append(
            sample_from_server(
                server, tokenizer, "plain", prompts(10), CONFIG, 7, shard=3, progress=told.append
            )
        )
    assert drawn[0] == drawn[1]
    texts = [[completion.text for completion in row] for row in drawn[0]]
    for n, row in enumerate(texts):
        assert [text.rpartition(" ")[0] for text in row] == [f"<bos>what is {n} plus 4?"] * 2
    seeds = [int(text.rpartition(" ")[2]) for row in texts for text in row]
    assert len(set(seeds)) == 20 and all(0 <= seed < 2**31 for seed in seeds)
    assert told == [3] * 40
    assert 1 < fake.busiest <= 4
    other = sample_from_server(server, tokenizer, "plain", prompts(1), CONFIG, 7, shard=4)
    assert other[0][0].text != texts[0][0]


def test_a_server_of_openais_fields_alone(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    fake.be_transformers()
    fake.fields = TRANSFORMERS_FIELDS - {"generation_config"}
    assert sample_from_server(server, tokenizer, "plain", [ASK], CONFIG, 0)
    with pytest.raises(ConfigError, match="takes no request with top_k(?s:.*)Unexpected fields"):
        sample_from_server(
            server, tokenizer, "plain", [ASK], CONFIG.model_copy(update={"top_k": 5}), 0
        )


def test_a_wrong_model_name_is_told_at_once(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    fake.faults.append((404, {}))
    with pytest.raises(StageError, match="refuses a request: 404"):
        sample_from_server(server, tokenizer, "plain", [ASK], CONFIG, 0)
    assert len(fake.bodies) == 1


def test_one_failure_ends_the_shard_soon(fake: FakeServer, served: Any, tokenizer: Any) -> None:
    def reply(body: Body) -> Any:
        if body["max_tokens"] > 1 and len(fake.bodies) == 3:
            return {"choices": "none"}
        time.sleep(0.3)
        return answer_of(body)

    fake.reply = reply
    ours = served(retries=0, concurrency=2)
    with pytest.raises(StageError, match="no completion in 1 attempts"):
        sample_from_server(ours, tokenizer, "plain", prompts(50), CONFIG, 0)
    time.sleep(0.5)
    assert len(fake.bodies) < 8


def test_equal_draws_are_told(served: Any, tokenizer: Any) -> None:
    log = Notes()
    ours = served(log)
    sample_from_server(ours, tokenizer, "plain", prompts(3), CONFIG, 0)
    assert "either the policy has collapsed or the server ignores" in log.texts[0]
    log.texts.clear()
    greedy = CONFIG.model_copy(update={"temperature": 0.0})
    sample_from_server(ours, tokenizer, "plain", prompts(3), greedy, 0)
    assert not log.texts


def test_no_prompts_ask_nothing(fake: FakeServer, server: ModelServer, tokenizer: Any) -> None:
    assert sample_from_server(server, tokenizer, "plain", [], CONFIG, 0) == []
    assert not fake.bodies
