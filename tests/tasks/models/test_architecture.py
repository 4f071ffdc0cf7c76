"""Small models from scratch: the same for the same seed, nobody's random numbers touched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tasks.models.architecture import ArchitectureConfig


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_weights_follow_the_seed_alone(kind: str, build: Any, tokenizer: Any) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = build(kind, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    same, other = build(kind, seed=1).state_dict(), build(kind, seed=2).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in one.state_dict().items())
    assert any(not torch.equal(value, other[name]) for name, value in one.state_dict().items())
    assert not one.training
    assert one.get_input_embeddings().weight.shape == (len(tokenizer), 16)
    assert one.config.pad_token_id == tokenizer.pad_token_id != one.config.eos_token_id
    assert one.config.max_position_embeddings == 128


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_one_with_an_encoder_begins_and_ends_as_the_tokenizer_says(
    kind: str, build: Any, tokenizer: Any
) -> None:
    one, same, other = build(kind, seed=1), build(kind, seed=1), build(kind, seed=2)
    config = one.config
    assert config.is_encoder_decoder and not one.training
    begin = tokenizer.eos_token_id if kind == "bart" else tokenizer.pad_token_id
    assert config.decoder_start_token_id == one.generation_config.decoder_start_token_id == begin
    assert one.get_output_embeddings().weight is one.get_input_embeddings().weight
    weights, others = one.state_dict(), other.state_dict()
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in weights.items())
    assert any(not torch.equal(value, others[name]) for name, value in weights.items())


def test_shapes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValidationError, match="even multiple of heads 3"):
        ArchitectureConfig(hidden_size=16, heads=3)
    with pytest.raises(ValidationError, match="multiple of kv_heads 3"):
        ArchitectureConfig(hidden_size=16, heads=4, kv_heads=3)
    with pytest.raises(ValidationError):
        ArchitectureConfig(kind="bert")


def test_dropout_reaches_the_config(build: Any) -> None:
    assert build("gpt2", dropout=0.25).config.resid_pdrop == 0.25
    assert build("llama", dropout=0.25).config.attention_dropout == 0.25
