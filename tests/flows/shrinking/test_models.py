"""Small models of the same kind: architecture, vocabulary, context, ratios; never the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, LlamaConfig, T5Config

from flows.configs.recurring import ModelSource
from flows.registry import find_flow, read_config
from flows.shrinking.models import SmallModel, small_config, with_small_models, write_small_model
from tasks.settings.errors import ConfigError
from tests.flows.rehearsal.conftest import MODELS, write_model


@pytest.mark.parametrize("name", sorted(folder.name for folder in MODELS.iterdir()))
def test_the_papers_models_become_small_and_stay_what_they_are(name: str) -> None:
    whole = AutoConfig.from_pretrained(MODELS / name)
    small = small_config(whole, SmallModel(layers=2))
    assert type(small) is type(whole)
    assert (small.num_hidden_layers, small.num_attention_heads, small.hidden_size) == (2, 4, 64)
    assert small.vocab_size == whole.vocab_size
    assert small.max_position_embeddings == whole.max_position_embeddings
    AutoModelForCausalLM.from_config(small)


def test_shared_keys_and_the_inner_width_keep_their_ratio() -> None:
    """32 heads share 8 keys, a quarter: 4 share 1. 11008 / 4096 of 64 is 172, the next 176."""
    whole = LlamaConfig(num_key_value_heads=8)
    small = small_config(whole, SmallModel())
    assert (small.num_key_value_heads, small.intermediate_size, small.head_dim) == (1, 176, 16)
    assert (whole.num_hidden_layers, whole.hidden_size) == (32, 4096), "not changed"


def test_the_width_stays_where_that_is_asked_for() -> None:
    small = small_config(GPT2Config(), SmallModel(layers=1, heads=None))
    assert (small.num_hidden_layers, small.hidden_size, small.num_attention_heads) == (1, 768, 12)


def test_encoder_and_decoder_both_become_short() -> None:
    small = small_config(T5Config(num_layers=6), SmallModel())
    found = (small.num_layers, small.num_decoder_layers, small.d_model, small.d_ff)
    assert found == (2, 2, 64, 256)


def test_one_small_model_stands_for_all_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "whole"
    write_model(MODELS / "llama-2-7b", source)
    for name in ("GOLD", "GPT4LLM"):
        monkeypatch.setenv(name, name)
    monkeypatch.setenv("BASE_MODEL", str(source))
    config: Any = read_config(find_flow("apo"), Path("apo-hh.yaml"), [])
    small, stands_for = with_small_models(config, tmp_path / "small", SmallModel())
    (folder,) = stands_for
    assert stands_for[folder].source == str(source)
    named = {small.model.path, small.reward.base, *small.compare_with.values()}
    assert named == {folder}
    assert small.model.template == config.model.template


def test_a_tokenizer_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path / "bare")
    source = ModelSource(str(tmp_path / "bare"), None, ())
    with pytest.raises(ConfigError, match="bare.*cannot be loaded"):
        write_small_model(source, tmp_path / "small", SmallModel())
