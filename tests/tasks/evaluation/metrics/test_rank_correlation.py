"""Spearman's correlation of tokens, beside one that knows the responses but not their tokens."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from tasks.evaluation.metrics.rank_correlation import RankCorrelation, rank_correlation


def test_it_is_scipys_over_all_tokens() -> None:
    draws = np.random.default_rng(0)
    first = [draws.normal(size=size) for size in (7, 1, 12)]
    second = [row.round() for row in first]
    found = rank_correlation(first, second, shuffles=9, seed=0)
    expected = spearmanr(np.concatenate(first), np.concatenate(second)).statistic
    assert found.value == pytest.approx(expected) and found.tokens == 20


def test_the_control_keeps_what_is_due_to_whole_responses() -> None:
    """Two responses of equal tokens each: a shuffle within them changes nothing."""
    apart = rank_correlation([[0, 0], [1, 1]], [[5, 5], [7, 7]], shuffles=5, seed=0)
    assert (apart.value, apart.control, apart.control_high) == pytest.approx((1, 1, 1))
    assert not apart.points_at_tokens
    tokens = rank_correlation([list(range(40))], [list(range(40))], shuffles=99, seed=0)
    assert tokens.value == 1 and abs(tokens.control) < 0.1 and tokens.points_at_tokens
    assert tokens.control_low < 0 < tokens.control_high


def test_the_seed_decides_the_control_and_other_tokens_are_refused() -> None:
    rows = [[3.0, 1.0, 2.0, 5.0]], [[1.0, 2.0, 4.0, 3.0]]
    one = rank_correlation(*rows, shuffles=20, seed=1)
    assert one == rank_correlation(*rows, shuffles=20, seed=1)
    assert one != rank_correlation(*rows, shuffles=20, seed=2)
    assert rank_correlation([], [], shuffles=3, seed=0) == RankCorrelation(0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="two numbers of the same tokens"):
        rank_correlation([[1, 2]], [[1], [2]], shuffles=1, seed=0)
