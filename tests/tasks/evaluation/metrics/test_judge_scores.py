"""The sigmoid accuracy and the spread among a prompt's responses."""

from __future__ import annotations

import math

import pytest

from tasks.evaluation.metrics.judge_scores import classifier_accuracy, mean_spread


def test_accuracy_by_hand() -> None:
    """Odds 3 to 1 and 1 to 3 make 3/4 and 1/4; log 9 makes 9/10."""
    accuracy = classifier_accuracy([[math.log(3), -math.log(3)], [math.log(9)]])
    assert accuracy.value == pytest.approx((0.75 + 0.25 + 0.9) / 3)
    assert accuracy.count == 2


def test_extreme_scores_are_sure() -> None:
    assert classifier_accuracy([[1e4], [1e4]]).value == 1
    assert classifier_accuracy([[-1e4], [-1e4]]).value == 0


def test_spread_by_hand() -> None:
    """Deviations √2 of (1, 3) and 1 of (0, 1, 2); a lone response has none."""
    spread = mean_spread([[1.0, 3.0], [0.0, 1.0, 2.0], [9.0]])
    assert spread.value == pytest.approx((2**0.5 + 1) / 2)
    assert spread.count == 2
    assert mean_spread([[1.0]]).value == 0
