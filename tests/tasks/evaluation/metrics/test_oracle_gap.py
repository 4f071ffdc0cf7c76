"""The share of the gap to the best achievable reward."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.metrics.oracle_gap import gap_closed


def test_by_hand() -> None:
    """Means: start (0 + 2) / 2 = 1, policy (1 + 3) / 2 = 2, best 5: (2 - 1) / (5 - 1) = 1/4."""
    closed = gap_closed([[0.0], [1.0, 3.0]], [[1.0], [3.0]], [4.0, 6.0])
    assert closed.share == 0.25
    assert (closed.start, closed.policy, closed.best, closed.prompts) == (1.0, 2.0, 5.0, 2)


def test_pairing_narrows_the_interval() -> None:
    """Every prompt closes exactly half of its gap, however the prompts differ."""
    start = np.random.default_rng(0).normal(size=50) * 10
    closed = gap_closed(start[:, None], (start + 1)[:, None], start + 2)
    assert closed.share == pytest.approx(0.5)
    assert closed.interval.high - closed.interval.low < 1e-9


def test_resamples_without_a_gap_are_left_out() -> None:
    """Without a gap in one prompt of two, a quarter of the resamples has none; the rest 1/2."""
    closed = gap_closed([[0.0], [1.0]], [[1.0], [1.0]], [2.0, 1.0])
    assert closed.share == 0.5
    assert (closed.interval.low, closed.interval.high) == (0.5, 0.5)


def test_no_gap_gives_no_share() -> None:
    closed = gap_closed([[1.0]], [[1.0]], [1.0])
    assert closed.share is None and closed.interval is None


def test_prompts_must_match() -> None:
    with pytest.raises(ValueError, match="1 for the start, 2 for the policy and 1 for the best"):
        gap_closed([[1.0]], [[1.0], [2.0]], [1.0])
