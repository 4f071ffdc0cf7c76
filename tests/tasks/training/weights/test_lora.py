"""Adapters train few weights; what is saved is a plain model, and the adapter beside it."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from tasks.models.policy import load_policy
from tasks.models.source_checks import check_model_source
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tasks.training.scale import LoraConfig
from tasks.training.weights.lora import Adapter
from tests.tasks.models.random_heads import random_reward_model

CONFIG = LoraConfig(rank=4, alpha=8)
IDS = torch.arange(5, 14)[None]


def policy_of(folder, _):
    return load_policy(folder, dtype="float32")


def reward_of(folder, _):
    return random_reward_model(folder, load_tokenizer(folder), 0, dtype="float32")


def gpt2_of(_, folder):
    """Its matrices are transposed."""
    GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    ).save_pretrained(folder)
    return load_policy(folder, dtype="float32")


def trained(model, seed: int = 1) -> None:
    """Stands for a training: every trainable weight moves."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("make", [policy_of, reward_of, gpt2_of])
def test_merged_is_the_adapter_applied(make, tiny_policy, tmp_path):
    model = make(tiny_policy, tmp_path / "start")
    model.save_pretrained(tmp_path / "base")
    before = {name: p.clone() for name, p in model.named_parameters()}
    adapter = Adapter(model, CONFIG, seed=0)
    trained(model)
    expected = model(IDS).logits
    adapter.save(tmp_path / "out" / "adapter")
    merged = adapter.merge()
    merged.save_pretrained(tmp_path / "out")
    assert merged is model and [name for name, _ in model.named_parameters()] == list(before)

    kind = AutoModelForCausalLM if make is not reward_of else AutoModelForSequenceClassification
    plain = kind.from_pretrained(tmp_path / "out").eval()
    assert torch.allclose(plain(IDS).logits, expected, atol=1e-5)
    base = kind.from_pretrained(tmp_path / "base").eval()
    again = PeftModel.from_pretrained(base, str(tmp_path / "out" / "adapter")).eval()
    assert torch.allclose(again(IDS).logits, expected, atol=1e-6)
    check_model_source(tmp_path / "out")


def test_the_base_stays_as_it_was(tiny_policy):
    model = policy_of(tiny_policy, None)
    before = {name: p.clone() for name, p in model.named_parameters()}
    Adapter(model, CONFIG, seed=0)
    model(IDS).logits.sum().backward()
    trained(model)
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            plain = name.replace(".base_layer", "")
            assert torch.equal(parameter, before[plain]) and parameter.grad is None
        else:
            assert parameter.requires_grad


def test_an_untrained_adapter_changes_nothing(tiny_policy):
    model = policy_of(tiny_policy, None)
    expected = model(IDS).logits
    Adapter(model, CONFIG, seed=0)
    assert torch.equal(model(IDS).logits, expected)


def test_a_head_is_trained_whole(tiny_policy, tmp_path):
    model = reward_of(tiny_policy, None)
    adapter = Adapter(model, CONFIG, seed=0)
    assert model.score.weight.requires_grad
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trainable if "lora_" not in name} == {"score.weight"}
    adapter.save(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["modules_to_save"] == ["score"] and settings["r"] == 4
    assert settings["base_model_name_or_path"] is None


def test_the_seed_decides_the_first_weights(tiny_policy):
    def first(seed: int) -> torch.Tensor:
        model = policy_of(tiny_policy, None)
        Adapter(model, CONFIG, seed)
        return torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(first(3), first(3)) and not torch.equal(first(3), first(4))


def test_only_the_named_layers(tiny_policy):
    model = policy_of(tiny_policy, None)
    Adapter(model, LoraConfig(target_modules=("q_proj", "self_attn.v_proj")), seed=0)
    adapted = {name.split(".lora_")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj", "v_proj"}


def test_an_unknown_layer_is_refused_by_name(tiny_policy):
    config = LoraConfig(target_modules=("q_proj", "c_attn"))
    with pytest.raises(ConfigError, match="'c_attn'.*known: .*q_proj"):
        Adapter(policy_of(tiny_policy, None), config, seed=0)
