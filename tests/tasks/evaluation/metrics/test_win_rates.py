"""Win rates over all combinations, their intervals, and paired differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.metrics.win_rates import paired_difference, win_rates, win_rates_of_shares

scores = st.lists(
    st.tuples(
        st.lists(st.integers(0, 4), min_size=1, max_size=3),
        st.lists(st.integers(0, 4), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


def test_by_hand() -> None:
    """Prompt 0: (1, 3) against (2, 3): lose, lose, win, tie. Prompt 1: one win. Averaged."""
    rates = win_rates([[1.0, 3.0], [1.0]], [[2.0, 3.0], [0.0]])
    assert (rates.win, rates.lose, rates.tie) == (0.625, 0.25, 0.125)
    assert rates.prompts == 2
    assert rates.win_interval.low == 0.25 and rates.win_interval.high == 1.0


def test_no_interval_collapses_where_all_prompts_end_alike() -> None:
    """Wilson's of 4 of 4: 1 − 1.96² / (4 + 1.96²) = 0.510 to 1; of none of 4 its mirror image."""
    rates = win_rates_of_shares([(1, 0, 0)] * 4)
    assert (rates.win_interval.low, rates.win_interval.high) == (pytest.approx(0.5101, abs=1e-4), 1)
    assert (rates.lose_interval.low, rates.lose_interval.high) == (
        0,
        pytest.approx(0.4899, abs=1e-4),
    )
    assert rates.tie_interval == rates.lose_interval
    several = win_rates_of_shares([(0.5, 0.25, 0.25)] * 4)
    assert several.win_interval.low < 0.2 and several.win_interval.high > 0.8


@settings(deadline=None)
@given(scores)
def test_swapping_sides_swaps_wins_and_losses(groups) -> None:
    ours, theirs = zip(*groups, strict=True)
    forth = win_rates(ours, theirs, resamples=50)
    back = win_rates(theirs, ours, resamples=50)
    assert (forth.win, forth.lose, forth.tie) == pytest.approx((back.lose, back.win, back.tie))
    assert forth.win + forth.lose + forth.tie == pytest.approx(1)
    assert forth.win_interval == back.lose_interval


def test_a_policy_against_itself_is_even() -> None:
    completions = np.random.default_rng(0).normal(size=(30, 4))
    rates = win_rates(completions, completions)
    assert rates.win == rates.lose and rates.tie == pytest.approx(0.25)


def test_verdicts_and_empty() -> None:
    assert win_rates_of_shares([(1, 0, 0), (0, 0, 1)]).win == 0.5
    assert win_rates([], []).metrics()["prompts"] == 0


def test_difference_is_paired() -> None:
    """Prompts differ wildly, the difference never: the error is 0."""
    base = [[0.0, 10.0], [100.0, 300.0], [-50.0]]
    better = [[score + 1 for score in row] for row in base]
    difference = paired_difference(better, base)
    assert difference.value == pytest.approx(1)
    assert difference.standard_error == pytest.approx(0, abs=1e-12)


def test_prompts_must_match() -> None:
    with pytest.raises(ValueError, match="1 and 2 prompts"):
        win_rates([[1.0]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="prompt 1 needs finite scores"):
        win_rates([[1.0], [1.0]], [[1.0], []])
