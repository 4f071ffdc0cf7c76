"""The settings of a training as memory, by hand, and against what an optimiser really holds."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tasks.models.scoring.config import ScoringConfig
from tasks.models.sizes.shape import ModelShape, shape_of
from tasks.models.tqr.config import TqrConfig
from tasks.settings.errors import ConfigError
from tasks.training.config import TrainingConfig
from tasks.training.memory_needs import ppo_memory, training_memory
from tasks.training.optimiser import build_optimiser
from tasks.training.ppo.config import PpoConfig
from tasks.training.scale import LoraConfig
from tasks.training.weights.last_layers import freeze_below
from tasks.training.weights.lora import Adapter

SIX = ModelShape(
    parameters=6_000_000_000,
    matrices=5_500_000_000,
    head=250_000_000,
    tied=False,
    layers=32,
    width=4096,
    kv_width=4096,
    kept_fp32=340_000.0,
    kept_bf16=230_000.0,
    linears=(),
)
SMALL = LlamaConfig(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=50,
    tie_word_embeddings=True,
)
QUERIES = replace(SIX, linears=(("layers.0.q_proj", 4096, 4096),))
LORA = LoraConfig(rank=16, target_modules=("q_proj",))
GB = 1e9


def test_adapters_leave_six_billion_numbers_in_bf16() -> None:
    """5.5B numbers at 2 bytes and 0.5B at 4 are 13 GB; 16 × 8,192 trained ones take 12 bytes."""
    found = training_memory(QUERIES, TrainingConfig(lora=LORA), bf16=True)
    assert found.weights == 13 * GB and found.casts == 0.5 * GB
    assert found.gradients + found.optimiser == 12 * 16 * 8192
    whole = training_memory(SIX, TrainingConfig(), bf16=True)
    assert found.activations == whole.activations, "gradients go through every layer"
    exact = TrainingConfig(lora=LORA, precision="fp32")
    assert training_memory(QUERIES, exact, bf16=True).weights == 24 * GB


def test_the_last_four_of_thirty_two_layers_by_hand() -> None:
    """An eighth of 5.5B numbers and the head's 0.25B are trained: 0.9375B; 4.8125B are frozen."""
    found = training_memory(SIX, TrainingConfig(trainable_layers=4), bf16=True)
    assert found.gradients == 4 * 0.9375 * GB and found.optimiser == 8 * 0.9375 * GB
    assert found.weights == (24 - 2 * 4.8125) * GB
    assert found.casts == pytest.approx(2 * 0.9375 * GB)
    whole = training_memory(SIX, TrainingConfig(), bf16=True)
    assert found.activations == whole.activations / 8
    # A tied head is the input embedding, which stays frozen.
    tied = training_memory(replace(SIX, tied=True), TrainingConfig(trainable_layers=4), bf16=True)
    assert tied.gradients == 4 * 0.6875 * GB


def test_the_heads_of_a_tqr_are_trained_beside_the_model() -> None:
    """Of width 4,096: 2 × 4,097 for the reward, 256 × 8,193 for the weights, 12 bytes trained.

    Without ptq 250M more: 1 GB of weights, 1 of gradients, 2 of moments; with adapters too.
    """
    small = TqrConfig().numbers(SIX.width, SIX.head)
    assert small == 2 * 4097 + 256 * 8193
    own = TqrConfig(ptq=False).numbers(SIX.width, SIX.head)
    assert own - small == SIX.head
    for config in (TrainingConfig(), TrainingConfig(lora=LORA)):
        plain = training_memory(QUERIES, config, bf16=True)
        found = training_memory(QUERIES, config, bf16=True, beside=own)
        assert found.weights - plain.weights == pytest.approx(4 * own)
        assert found.gradients - plain.gradients == pytest.approx(4 * own)
        assert found.optimiser - plain.optimiser == pytest.approx(8 * own)
        assert found.activations == plain.activations
    shared = TrainingConfig(deepspeed="zero3", processes=8)
    found, plain = (training_memory(SIX, shared, bf16=True, beside=n).states for n in (own, 0))
    assert found - plain == pytest.approx(20 * own / 8)


def states(**settings: Any) -> float:
    config = TrainingConfig(**settings)
    return training_memory(SIX, config, bf16=True).states / GB


def test_six_billion_numbers_take_ninety_six_gigabytes() -> None:
    assert states() == pytest.approx(96)


def test_eight_processes_share_by_the_stage_of_zero() -> None:
    """20 bytes a number, as DeepSpeed keeps a master copy: 4 + 4 + 12."""
    assert states(deepspeed="zero1", processes=8) == pytest.approx(24 + 24 + 72 / 8)
    assert states(deepspeed="zero2", processes=4, nodes=2) == pytest.approx(24 + 96 / 8)
    assert states(deepspeed="zero3", processes=8) == pytest.approx(120 / 8)
    assert states(deepspeed="zero3-offload", processes=8) == 0


def test_ppo_holds_two_trainings_and_two_frozen_models() -> None:
    """Weights, gradients and moments of 6B in fp32: 96 + 96 + 24 + 24 GB, behind a header's 96."""
    plain = ppo_memory(SIX, SIX, PpoConfig(), bf16=False)
    assert sum(one.states for one in plain.values()) / GB == pytest.approx(240)
    found = ppo_memory(SIX, SIX, PpoConfig(), bf16=True)
    # In bf16 the 5.5B numbers of each frozen one's linear layers take half.
    assert sum(one.states for one in found.values()) / GB == pytest.approx(240 - 11 - 11)
    exact = PpoConfig(scoring=ScoringConfig(precision="fp32"))
    assert ppo_memory(SIX, SIX, exact, bf16=True)["scorer"].states / GB == pytest.approx(24)
    assert "reference" not in ppo_memory(QUERIES, QUERIES, PpoConfig(lora=LORA), bf16=True)
    assert set(found) == {"actor", "critic", "reference", "scorer"}
    assert "scorer" not in ppo_memory(SIX, None, PpoConfig(), bf16=True)
    other = replace(SIX, parameters=100, matrices=80, head=20 * 4096, layers=1)
    small = ppo_memory(SIX, other, PpoConfig(), bf16=True)
    assert small["critic"] == found["critic"], "a scorer of other tokens is no critic"
    assert small["scorer"].total < found["scorer"].total
    drawn = found["actor"].cache
    longer = PpoConfig(prompts_per_step=128)
    assert ppo_memory(SIX, SIX, longer, bf16=True)["actor"].cache >= drawn > 0


def test_weights_gradients_and_moments_are_those_of_the_optimiser() -> None:
    model = AutoModelForCausalLM.from_config(SMALL)
    optimiser = build_optimiser(model, TrainingConfig())
    model(torch.zeros(1, 3, dtype=torch.long)).logits.sum().backward()
    optimiser.step()
    found = training_memory(shape_of(SMALL), TrainingConfig(), bf16=False)
    assert found.weights == sum(p.numel() * p.itemsize for p in model.parameters())
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert found.gradients == sum(grad.numel() * grad.itemsize for grad in grads)
    moments = [
        tensor
        for state in optimiser.state.values()
        for name, tensor in state.items()
        if name.startswith("exp")
    ]
    assert found.optimiser == sum(tensor.numel() * tensor.itemsize for tensor in moments)


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj")])
def test_adapters_are_counted_as_they_are_made(targets: Any) -> None:
    lora = LoraConfig(rank=3, target_modules=targets)
    model = AutoModelForCausalLM.from_config(SMALL)
    Adapter(model, lora, seed=0)
    real = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = training_memory(shape_of(SMALL), TrainingConfig(lora=lora), bf16=False)
    assert found.gradients == 4 * real


def test_adapters_for_no_layer_are_refused() -> None:
    config = TrainingConfig(lora=LoraConfig(target_modules=("nothing",)))
    with pytest.raises(ConfigError, match="nothing"):
        training_memory(shape_of(SMALL), config, bf16=False)


def test_the_last_layers_are_counted_with_the_head_and_no_more_than_there_are() -> None:
    for tied in (True, False):
        config = deepcopy(SMALL)
        config.tie_word_embeddings = tied
        shape, model = shape_of(config), AutoModelForCausalLM.from_config(config)
        freeze_below(model, 1)
        real = sum(p.numel() for p in model.parameters() if p.requires_grad)
        norms = 3 * 32
        found = training_memory(shape, TrainingConfig(trainable_layers=1), bf16=False)
        assert found.gradients == 4 * (real - norms)
    with pytest.raises(ConfigError, match="trainable_layers is 3 and the model has 2"):
        training_memory(shape, TrainingConfig(trainable_layers=3), bf16=False)
