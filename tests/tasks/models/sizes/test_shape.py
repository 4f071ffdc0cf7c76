"""Sizes that are read from an architecture agree with models that are really there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    T5Config,
)

from tasks.models.sizes.shape import read_shape, shape_of, with_layers
from tasks.settings.errors import ConfigError

_SMALL = {"hidden_size": 48, "num_attention_heads": 4, "vocab_size": 64, "num_hidden_layers": 3}
_QUIET = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_SMALL, intermediate_size=96, num_key_value_heads=2),
    "qwen2": lambda: Qwen2Config(**_SMALL, intermediate_size=96, num_key_value_heads=2),
    "gpt2": lambda: GPT2Config(n_embd=48, n_layer=3, n_head=4, vocab_size=64, **_QUIET),
    "gpt_neox": lambda: GPTNeoXConfig(**_SMALL, intermediate_size=192),
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("bf16", [False, True])
def test_what_a_layer_keeps_is_what_autograd_keeps(family: str, bf16: bool) -> None:
    """Real tensors of 61 tokens; a storage that 61 does not divide holds weights, not tokens."""
    tokens, config = 61, FAMILIES[family]()

    def kept(layers: int) -> int:
        model = AutoModelForCausalLM.from_config(with_layers(config, layers)).train()
        sizes: dict[int, int] = {}
        alive: list[Any] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.nbytes() // tensor.element_size() % tokens == 0:
                sizes[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        ids = torch.zeros(1, tokens, dtype=torch.long)
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bf16),
        ):
            getattr(model, model.base_model_prefix)(ids, use_cache=False)
        return sum(sizes.values())

    real = (kept(3) - kept(2)) / tokens
    assert shape_of(config).kept(bf16=bf16) == pytest.approx(real, rel=0.03)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_numbers_are_those_of_the_model(family: str) -> None:
    config = FAMILIES[family]()
    model, shape = AutoModelForCausalLM.from_config(config), shape_of(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (shape.head, shape.tied) == (64 * 48, config.tie_word_embeddings)
    assert (shape.layers, shape.width) == (3, 48)
    # Only norms and biases are neither matrices nor embeddings.
    table = model.get_input_embeddings().weight.numel()
    places = 1024 * 48 if family == "gpt2" else 0
    untied = 0 if config.tie_word_embeddings else shape.head
    rest = shape.parameters - shape.matrices - table - places - untied
    assert 0 < rest < 0.05 * shape.matrices
    assert sum(inputs * outputs for _, inputs, outputs in shape.linears) == shape.matrices


def test_the_papers_models_have_their_known_sizes() -> None:
    """LLaMA-2-7B, GPT-2 large, Pythia-2.8B: as their cards say."""
    llama = shape_of(LlamaConfig())
    assert llama.parameters == 6_738_415_616 and llama.kv_width == 4096
    assert shape_of(GPT2Config(n_embd=1280, n_layer=36, n_head=20)).parameters == 774_030_080
    pythia = GPTNeoXConfig(
        hidden_size=2560,
        num_hidden_layers=32,
        num_attention_heads=32,
        intermediate_size=10240,
        vocab_size=50304,
    )
    assert shape_of(pythia).parameters == 2_775_208_960


def test_a_model_with_an_encoder_has_a_shape_too() -> None:
    config = T5Config(
        d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4, vocab_size=64, dropout_rate=0.0
    )
    shape = shape_of(config)
    model = AutoModelForSeq2SeqLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.kept_fp32 > shape.kept_bf16 > 0


def test_nothing_is_changed_and_nothing_is_drawn() -> None:
    config, before = FAMILIES["llama"](), torch.random.get_rng_state()
    told = config.to_dict()
    shape_of(config)
    assert config.to_dict() == told
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_architecture_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nobody-knows"}')
    with pytest.raises(ConfigError, match="nobody-knows"):
        read_shape(tmp_path)
