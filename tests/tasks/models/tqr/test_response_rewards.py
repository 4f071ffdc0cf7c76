"""Scores of whole responses by hand."""

from __future__ import annotations

import pytest
import torch

from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.response_rewards import response_rewards

# Weighted means of three and of one position, and an empty slot; as mean1 or without weights.
MEAN = torch.tensor([[[2.0, 4.0, 3.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
MASK = torch.tensor([[[True] * 3, [True, False, False], [False] * 3]])


@pytest.mark.parametrize(
    ("config", "scale", "whole"),
    [
        ({}, "mean", [3.0, 5.0, 0.0]),
        ({}, "sum", [9.0, 5.0, 0.0]),
        ({"rwt": False}, "mean", [3.0, 5.0, 0.0]),
        # Weights that sum to 1 have made a mean of it already.
        ({"rwt_scale": "sum1"}, "mean", [9.0, 5.0, 0.0]),
        ({"rwt_scale": "sum1"}, "sum", [27.0, 5.0, 0.0]),
    ],
)
def test_last_and_return(config: dict, scale: str, whole: list[float]) -> None:
    found = response_rewards(MEAN, MASK, TqrConfig(**config), scale)  # type: ignore[arg-type]
    assert found.last.tolist() == [[3.0, 5.0, 0.0]]
    assert found.whole.tolist() == [whole]
