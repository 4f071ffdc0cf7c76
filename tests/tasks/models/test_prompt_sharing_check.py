"""What decides whether prompts are shared, piece by piece."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.models.prompt_sharing_check import (
    difference,
    dropouts,
    logit_scale,
    longest_sequence,
    probe_groups,
    tolerance,
)


def config(**values: Any) -> Any:
    return SimpleNamespace(**values)


def test_probe_groups_are_ragged_the_same_and_within_the_vocabulary() -> None:
    groups = probe_groups(3, 1)
    assert groups == probe_groups(3, 1)
    ids = {i for group in groups for part in (group.prompt_ids, *group.responses_ids) for i in part}
    assert ids == {0, 2}
    assert len({len(group.responses_ids) for group in groups}) == 3


def test_a_difference_is_relative_and_nan_is_infinite() -> None:
    three_four = torch.tensor([3.0, 4.0])
    assert difference(three_four + torch.tensor([0.0, 0.5]), three_four) == pytest.approx(0.1)
    assert difference(torch.tensor([math.nan]), torch.tensor([1.0])) == math.inf
    assert difference(torch.zeros(2), torch.zeros(2)) == 0
    assert tolerance(torch.float64) < tolerance(torch.float32) < tolerance(torch.bfloat16)


def test_dropouts_are_those_above_zero() -> None:
    given = config(resid_pdrop=0.1, attention_dropout=0.0, layerdrop=0.2, dropout_rate=0.3, eps=0.4)
    assert dropouts(given) == ["resid_pdrop", "layerdrop", "dropout_rate"]


def test_the_longest_sequence_is_the_smallest_reach() -> None:
    assert longest_sequence(config(), windows=True) == math.inf
    window = config(sliding_window=7, attention_chunk_size=None)
    assert longest_sequence(window, windows=True) == 7
    assert longest_sequence(window, windows=False) == math.inf
    unused = config(sliding_window=7, use_sliding_window=False, attention_chunk_size=9)
    assert longest_sequence(unused, windows=True) == 9


def test_logits_are_scaled_as_the_config_says() -> None:
    assert logit_scale(config()) == 1
    assert logit_scale(config(logit_scale=0.25)) == 0.25
    assert logit_scale(config(logits_scaling=8)) == 0.125
    assert logit_scale(config(logit_scale="inv_sqrt_d_model")) == 1  # checked by its numbers
