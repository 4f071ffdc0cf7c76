"""Multiply-adds counted by hand against those that torch counts as they happen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tasks.models.groups.encoder_decoder import arrange
from tasks.models.groups.flops import (
    backward_passes,
    best_matmul_rate,
    matrix_numbers,
    multiply_adds,
)
from tasks.models.groups.packing import pack
from tasks.models.padded_batches import collate
from tests.tasks.models import families
from tests.tasks.models.families import PAD, group

# One prompt of 5 and one response of 4: no padding, nothing shared.
ALONE = [group(5, [4])]


def counted(call: Any) -> int:
    """Multiply-adds that torch sees in a call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gpt2", "neox", "qwen3", "opt"])
def test_a_plain_pass_of_one_response(family: str) -> None:
    """Attention aside, whose kernels also compute what the causal mask throws away."""
    model = families.build(family, attn_implementation="eager")
    batch = collate(ALONE, PAD)
    config = model.config
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    whole = 2 * heads * width * layers * 9 * 9
    needed = 2 * heads * width * layers * 9 * 10 // 2
    seen = counted(lambda: model(input_ids=batch.input_ids, logits_to_keep=slice(4, 8)))
    assert multiply_adds(model, batch) - needed == seen - whole
    assert multiply_adds(model, batch) == multiply_adds(model, pack(ALONE))


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_a_plain_pass_with_an_encoder(family: str) -> None:
    model = families.build(family, attn_implementation="eager")
    model.generation_config.forced_bos_token_id = None
    batch = arrange(ALONE, model, PAD)
    heads, width, layers = model.config.num_attention_heads, 4, 2
    if family == "bart":
        width = 8
    prompt, reply = 6, 4  # EOS stands behind the prompt
    whole = 2 * heads * width * layers * (prompt**2 + reply**2 + reply * prompt)
    needed = 2 * heads * width * layers * (prompt**2 + reply * (reply + 1) // 2 + reply * prompt)
    seen = counted(
        lambda: model(input_ids=batch.input_ids, decoder_input_ids=batch.decoder_input_ids)
    )
    assert multiply_adds(model, batch) - needed == seen - whole


def test_prompts_count_once_and_pads_never() -> None:
    model = families.build("llama")
    groups = [group(7, [3, 1, 12], 1), group(2, [5], 2)]
    row, rectangle = pack(groups), collate(groups, PAD)
    assert multiply_adds(model, row) == multiply_adds(model, rectangle)
    size = matrix_numbers(model.model)
    head = model.lm_head.weight.numel()
    pairs = 28 + 3 + (3 * 7 + 6) + (7 + 1) + (12 * 7 + 78) + (5 * 2 + 15)
    # 4 heads of 4 numbers, 2 layers, scores and values.
    assert multiply_adds(model, row) == size * 30 + head * 21 + 2 * 16 * 2 * pairs


def test_a_reward_model_has_no_output_embedding() -> None:
    model = families.build("llama", "ForSequenceClassification")
    whole = families.build("llama")
    head = whole.lm_head.weight.numel() * 4
    assert multiply_adds(whole, pack(ALONE)) - multiply_adds(model, pack(ALONE)) == head


def test_sharded_weights_count_whole() -> None:
    part = torch.nn.Linear(3, 4)
    expected = matrix_numbers(part)
    part.weight.data = torch.empty(0, 0)
    part.weight.ds_numel = 12  # type: ignore[assignment]
    assert matrix_numbers(part) == expected == 12


def test_a_frozen_part_costs_what_is_handed_through_it() -> None:
    model = families.build("llama")
    layer, head = matrix_numbers(model.model.layers[0]), model.lm_head.weight.numel()
    whole = 2 * layer + head
    assert backward_passes(model) == 2
    model.requires_grad_(False)
    assert backward_passes(model) == 0
    # The last layer and the head behind it: both costs, and nothing below.
    model.model.layers[1].requires_grad_(True)
    assert backward_passes(model) == pytest.approx((layer + layer + head) / whole)
    # A small matrix at the bottom: gradients go through everything.
    bottom = model.model.layers[0].self_attn.q_proj.weight
    bottom.requires_grad_(True)
    own = layer + bottom.numel()
    assert backward_passes(model) == pytest.approx((own + whole) / whole)


def test_the_best_rate_is_that_of_a_real_product(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    best_matmul_rate.cache_clear()
    # Every product takes one tick: the largest matrix is the fastest.
    assert best_matmul_rate("cpu") == 2 * 2048**3
    assert best_matmul_rate("cpu") == 2 * 2048**3
    assert next(ticks) == 20  # measured once
    best_matmul_rate.cache_clear()
