"""Rates over many pairs, by hand, and where length is all that wins."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.judging.rates import verdict_rates
from tasks.evaluation.judging.verdicts import Judgement, Outcome, cross_checked

WIN = Judgement("win", ("A", "B"))
LOSE = Judgement("lose", ("B", "A"))
TIE = Judgement("tie", ("tie", "tie"))
FLIP = Judgement("tie", ("A", "A"))
INVALID = Judgement("invalid", ("A", None))


def test_shares_are_of_the_valid_pairs() -> None:
    found = verdict_rates([WIN, WIN, LOSE, TIE, FLIP, INVALID], [(4, 4)] * 6)
    assert (found.asked, found.valid, found.no_verdict) == (6, 5, "")
    rates = found.rates
    assert (rates.win, rates.lose, rates.tie) == pytest.approx((0.4, 0.2, 0.4))
    assert found.flipped.value == pytest.approx(1 / 5)
    # Of eight decided answers three chose A by chance of the order, and the flip both.
    assert found.first_chosen.value == pytest.approx(5 / 8)
    assert found.longer == 0.5, "all lengths are equal"
    assert found.length_controlled_win is None, "five pairs are too few to fit"


def test_under_half_valid_there_is_no_verdict() -> None:
    found = verdict_rates([WIN, INVALID, INVALID], [(4, 4)] * 3)
    assert "only 1 of 3 pairs" in found.no_verdict
    assert found.metrics() == {"asked": 3.0, "valid": 1.0}
    assert verdict_rates([], []).no_verdict == "the judge was asked about no pair"


def test_a_judge_that_chooses_the_longer_answer_prefers_nobody_at_equal_length() -> None:
    draws = np.random.default_rng(0)
    ours = draws.integers(50, 150, size=200) + 30
    theirs = draws.integers(50, 150, size=200)
    judged = [WIN if a > b else LOSE for a, b in zip(ours, theirs, strict=True)]
    found = verdict_rates(judged, list(zip(ours.tolist(), theirs.tolist(), strict=True)))
    assert found.rates.win > 0.65 and found.longer == pytest.approx(found.rates.win, abs=0.02)
    assert found.length_controlled is not None and found.length_controlled_win is not None
    assert found.length_controlled.low <= found.length_controlled_win
    assert found.length_controlled_win <= found.length_controlled.high
    assert found.length_controlled_win == pytest.approx(0.5, abs=0.12)


def test_a_judge_that_does_not_look_at_length_keeps_its_rate() -> None:
    draws = np.random.default_rng(1)
    lengths = draws.integers(50, 150, size=(300, 2)).tolist()
    judged = [WIN if one < 0.7 else LOSE for one in draws.random(300)]
    found = verdict_rates(judged, [tuple(pair) for pair in lengths])
    assert found.length_controlled_win == pytest.approx(found.rates.win, abs=0.03)


@pytest.mark.parametrize("one", [WIN, LOSE])
def test_an_unbroken_row_stays_finite(one: Judgement) -> None:
    found = verdict_rates([one] * 20, [(5, 5)] * 20)
    assert found.length_controlled_win == pytest.approx(float(one is WIN), abs=0.01)
    assert found.length_controlled is not None, "and tells little of the next prompt"
    assert found.length_controlled.high - found.length_controlled.low > 0.1


def test_lengths_that_are_missing_are_said() -> None:
    with pytest.raises(ValueError, match="1 judgements and 0 pairs"):
        verdict_rates([WIN], [])


def test_a_cross_check_is_counted_by_what_it_did() -> None:
    """Of four that both could judge two are confirmed, one is contradicted, one is no tie alone."""
    both: list[tuple[Judgement, Outcome]] = [
        (WIN, "win"),
        (LOSE, "lose"),
        (WIN, "lose"),
        (WIN, "tie"),
        (WIN, "invalid"),
    ]
    judgements = [cross_checked(one, second) for one, second in both]
    found = verdict_rates(judgements, [(4, 4)] * 5)
    assert (found.asked, found.valid) == (5, 4)
    assert found.confirmed and found.confirmed.value == 0.5
    assert found.contradicted and found.contradicted.value == 0.25
    assert found.metrics()["confirmed"] == 0.5 and found.rates.win == 0.25
    assert verdict_rates([WIN], [(4, 4)]).confirmed is None
