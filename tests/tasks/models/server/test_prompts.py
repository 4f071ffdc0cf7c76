"""Prompts for a server: ids, or a text that it reads as the same ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models.sampling.config import SamplingConfig
from tasks.models.server.process import ModelServer
from tasks.models.server.sampling import sample_from_server
from tasks.models.tokens.templates import TEMPLATES
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError, StageError
from tests.servers.openai_server import Body, FakeServer

ASK = (Message("user", "what is 3 plus 4?"),)
CONFIG = SamplingConfig(samples=2, max_new_tokens=8)


def read_by_server(tokenizer: Any, body: Body) -> list[int]:
    """The ids a server makes of a text, as vLLM and transformers do."""
    return list(tokenizer(body["prompt"])["input_ids"])


OWN = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize("template", ["plain", "hh", "own"])
@pytest.mark.parametrize("limit", [None, 5, 4])
@pytest.mark.parametrize("bos", [True, False])
def test_a_text_is_read_as_our_ids(
    fake: FakeServer, server: ModelServer, tokenizer: Any, template: str, limit: int, bos: bool
) -> None:
    """BOS stands there once, where the model has one; a long prompt loses its beginning."""
    from tasks.models.tokens.encoding import encode_prompt

    if template == "own":
        tokenizer.chat_template = OWN
    if not bos:
        from tokenizers import processors

        tokenizer._tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    fake.be_transformers()
    name = None if template == "own" else template
    sample_from_server(server, tokenizer, name, [ASK], CONFIG, 0, max_prompt_tokens=limit)
    expected, cut = encode_prompt(tokenizer, name, ASK, limit or 100)
    sent = read_by_server(tokenizer, fake.bodies[1])
    assert cut == (limit is not None)
    assert sent.count(tokenizer.bos_token_id) == int(bos or template == "own")
    assert sent == expected


def test_a_cut_inside_a_character_moves_on_to_where_text_begins(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    from tasks.models.tokens.encoding import encode_prompt

    fake.be_transformers()
    prompt = (Message("user", "🎉🎉🎉"),)
    for limit in range(6, 12):
        fake.bodies.clear()
        sample_from_server(server, tokenizer, "plain", [prompt], CONFIG, 0, max_prompt_tokens=limit)
        ours, _ = encode_prompt(tokenizer, "plain", prompt, limit)
        sent = read_by_server(tokenizer, fake.bodies[1])
        assert sent[0] == ours[0]
        assert len(ours) - 4 < len(sent) <= len(ours)
        assert sent[1:] == ours[len(ours) - len(sent) + 1 :]


def test_a_prompt_that_spells_a_special_token(
    fake: FakeServer, server: ModelServer, tokenizer: Any
) -> None:
    prompt = (Message("user", "what does <eos> mean?"),)
    sample_from_server(server, tokenizer, "plain", [prompt], CONFIG, 0)
    assert tokenizer.eos_token_id not in fake.bodies[1]["prompt"]
    fake.be_transformers()
    with pytest.raises(StageError, match="takes only text(?s:.*)spells a special token"):
        sample_from_server(server, tokenizer, "plain", [prompt], CONFIG, 0)


def test_all_templates_are_written(
    fake: FakeServer, server: ModelServer, tokenizer_folder: Path
) -> None:
    fake.be_transformers()
    tokenizer = load_tokenizer(tokenizer_folder)
    for name in TEMPLATES:
        sample_from_server(server, tokenizer, name, [ASK], CONFIG, 0)


def test_prompt_and_response_must_fit_the_context(server: ModelServer, tokenizer: Any) -> None:
    config = SamplingConfig(max_new_tokens=100)
    with pytest.raises(ConfigError, match="context of 128 tokens(?s:.*)leaves 28"):
        sample_from_server(server, tokenizer, "plain", [ASK], config, 0, max_prompt_tokens=29)


def test_an_encoder_decoder_is_refused(server: ModelServer, tokenizer: Any) -> None:
    from transformers import T5Config

    T5Config(vocab_size=len(tokenizer)).save_pretrained(server.model)
    with pytest.raises(ConfigError, match="encoder–decoder(?s:.*)use engine 'own'"):
        sample_from_server(server, tokenizer, "plain", [ASK], CONFIG, 0)
