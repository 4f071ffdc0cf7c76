"""Lengths, endings and the length–reward correlation."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.metrics.length_drift import length_drift, pearson


def test_habits_by_hand() -> None:
    """Lengths 2, 4, 6: mean 4; two of three ended; rewards fall as lengths grow: -1."""
    seen = length_drift([[2, 4], [6]], [[True, True], [False]], [[3.0, 2.0], [1.0]])
    assert seen.length.value == 4
    assert seen.ended.value == pytest.approx(2 / 3)
    assert seen.length_reward_correlation == pytest.approx(-1)


def test_pearson_agrees_with_numpy() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 100))
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert pearson([], []) == pearson([1.0], [2.0]) == pearson([3, 3], [1, 2]) == 0


def test_lists_must_hold_the_same_completions() -> None:
    with pytest.raises(ValueError, match="lengths 2, ended 1"):
        length_drift([[1, 2]], [[True]])
