"""Bytes by hand: a model of 1,000 numbers, 2 layers, 10 wide."""

from __future__ import annotations

import pytest

from tasks.models.sampling.config import SamplingConfig
from tasks.models.sizes.footprint import Footprint, Part, frozen, sampled, trained
from tasks.models.sizes.shape import ModelShape

SHAPE = ModelShape(
    parameters=1000,
    matrices=600,
    head=300,
    tied=True,
    layers=2,
    width=10,
    kv_width=5,
    kept_fp32=500.0,
    kept_bf16=300.0,
    linears=(),
)


def test_a_whole_training_takes_sixteen_bytes_a_number() -> None:
    """4 of weights, 4 of gradients, 8 of moments; 7 tokens keep 500 bytes in each of 2 layers."""
    found = trained(SHAPE, tokens=7, bf16=False)
    assert found == Footprint(4000, 4000, 8000, 0, 7000)
    assert (found.states, found.total) == (16_000, 23_000)


def test_bf16_adds_copies_of_the_matrices_and_halves_no_state() -> None:
    """2 bytes for each of 600 + 300 numbers."""
    found = trained(SHAPE, tokens=7, bf16=True)
    assert found == Footprint(4000, 4000, 8000, 1800, 7 * 2 * 300)


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer_whole() -> None:
    """Of 7 tokens 2 inputs of 10 numbers in fp32, and the 300 bytes of one layer."""
    found = trained(SHAPE, tokens=7, bf16=True, checkpointing=True)
    assert found.activations == 7 * (2 * 10 * 4 + 300)


@pytest.mark.parametrize(
    ("zero", "expected"),
    [
        (1, (4000, 4000, 12_000 / 4)),
        (2, (4000, 1000, 3000)),
        (3, (1000, 1000, 3000)),
    ],
)
def test_zero_shares_what_its_stage_says(zero: int, expected: tuple[float, ...]) -> None:
    """Among 4 processes; DeepSpeed keeps a master copy, so the optimiser has 12 bytes a number."""
    found = trained(SHAPE, tokens=1, bf16=False, processes=4, zero=zero)
    assert (found.weights, found.gradients, found.optimiser) == expected


def test_what_is_offloaded_is_in_no_gpu() -> None:
    found = trained(SHAPE, tokens=1, bf16=True, processes=4, zero=3, offload=True)
    assert found.states == 0 and found.casts == 0 and found.activations > 0


def test_few_trained_numbers_have_few_moments_and_the_rest_is_kept_in_bf16() -> None:
    """50 numbers beside 550 frozen ones in linear layers; one of 2 layers has a backward pass."""
    part = Part(50, 550, 1)
    found = trained(SHAPE, tokens=7, bf16=False, part=part)
    assert found == Footprint(4000, 200, 400, 0, 7 * 500)
    # In bf16 what is frozen takes 2 bytes and no cast.
    halved = trained(SHAPE, tokens=7, bf16=True, part=part)
    assert halved == Footprint(4000 - 2 * 550, 200, 400, 2 * (50 + 300), 7 * 300)
    again = trained(SHAPE, tokens=7, bf16=True, part=part, checkpointing=True)
    assert again.activations == 7 * (1 * 10 * 4 + 300)
    assert trained(SHAPE, tokens=7, bf16=True, part=part, processes=2, zero=3).weights == 2000


def test_a_frozen_model_has_weights_and_one_layer_at_work() -> None:
    assert frozen(SHAPE, tokens=3, bf16=False) == Footprint(4000, 0, 0, 0, 1500)
    # 600 of its 1,000 numbers are in linear layers; only the head's 300 are cast.
    assert frozen(SHAPE, tokens=3, bf16=True) == Footprint(2800, 0, 0, 600, 900)


def test_a_sampled_policy_has_keys_and_values_of_a_batch() -> None:
    """A prompt of 4 with 2 samples of 3 is 10 tokens, each 2 layers x 5 x 2 numbers of 4 bytes."""
    draws = SamplingConfig(samples=2, max_new_tokens=3, batch_tokens=35, shard_size=2)
    found = sampled(SHAPE, draws, 4, bf16=False)
    assert found == Footprint(weights=4000, cache=20 * 2 * 5 * 2 * 4)
    assert sampled(SHAPE, draws, 4, bf16=False, prompts=100).cache == 35 * 80, "a full batch"
    assert sampled(SHAPE, draws, 100, bf16=True, prompts=1).cache == 106 * 40, "one is never less"
    assert sampled(SHAPE, draws, 4, bf16=True, weights=False).weights == 0


def test_footprints_add_up_and_name_their_parts() -> None:
    both = Footprint(1, 2) + Footprint(3, cache=4)
    assert both == Footprint(4, 2, cache=4)
    assert both.parts() == {"weights": 4, "gradients": 2, "cache": 4}
