"""Scores of whole responses by hand."""

from __future__ import annotations

import pytest
import torch

from tasks.models.tqr.group_tqr import TqrOutput
from tasks.models.tqr.heads import Rewards
from tasks.models.tqr.response_rewards import response_rewards
from tasks.objectives.ava import AvaTerms

# Rewards of three and of one position, and an empty slot.
PLAIN = torch.tensor([[[2.0, 4.0, 3.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
MASK = torch.tensor([[[True] * 3, [True, False, False], [False] * 3]])


@pytest.mark.parametrize(
    ("weights", "scale", "last", "whole"),
    [
        # (2 + 2 · 4 + 0 · 3) / 3
        ([1.0, 2.0, 0.0], "mean", 0.0, 10 / 3),
        ([1.0, 2.0, 0.0], "sum", 0.0, 10.0),
        # Weights that sum to 1: 2/8 + 4/8 + 3/4; and that times 3.
        ([1 / 8, 1 / 8, 3 / 4], "mean", 9 / 4, 3.0),
        ([1 / 8, 1 / 8, 3 / 4], "sum", 9 / 4, 9.0),
    ],
)
def test_last_and_return(weights: list[float], scale: str, last: float, whole: float) -> None:
    given = torch.tensor([[weights, [1.0, 0.0, 0.0], [0.0] * 3]])
    rewards = Rewards(PLAIN * given, torch.zeros(1, 3, 3), given)
    output = TqrOutput(AvaTerms(*[PLAIN] * 5, MASK, MASK), rewards, MASK)
    found = response_rewards(output, return_scale=scale)  # type: ignore[arg-type]
    assert found.last.tolist() == [pytest.approx([last, 5.0, 0.0])]
    assert found.whole.tolist() == [pytest.approx([whole, 5.0, 0.0])]
