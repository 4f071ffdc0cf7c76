"""Points of the oracle on the tokens that cost them."""

from __future__ import annotations

import pytest

from tasks.data.playground.oracle import Fault
from tasks.evaluation.ava.penalties import correlations, penalties_of


def test_points_are_shared_among_the_tokens_that_a_fault_touches() -> None:
    """The space before a word belongs to its token; a token without text costs nothing."""
    texts = [" you", "", " id", "iot", "."]
    faults = [Fault(4, 9, 1.0), Fault(0, 9, 0.5), Fault(40, 44, 3.0)]
    third = 0.5 / 3
    expected = [third, 0, 0.5 + third, 0.5 + third, 0]
    assert penalties_of(texts, "you idiot.", faults) == pytest.approx(expected)
    assert penalties_of(["  a"], "  a", [Fault(2, 3, 1.0)]) == [1.0]


def test_low_rewards_on_penalties_correlate_at_the_token_that_they_stand_for() -> None:
    """Position t has seen token t - 1 and chooses token t."""
    penalties = [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]
    after = [[9.0, *(-cost for cost in row)] for row in penalties]
    found = correlations(after, penalties, shuffles=50, seed=0)
    assert found["seen"].value == pytest.approx(1) and found["next"].value < 0.8
    before = [[*(-cost for cost in row), 9.0] for row in penalties]
    assert correlations(before, penalties, shuffles=50, seed=0)["next"].value == pytest.approx(1)
