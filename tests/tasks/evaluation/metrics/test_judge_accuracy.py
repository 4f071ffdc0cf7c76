"""What is known of a judge, by hand and against scipy."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from tasks.evaluation.metrics.estimates import share_interval
from tasks.evaluation.metrics.judge_accuracy import (
    judge_accuracies,
    judge_accuracy,
)


def figures(right: int, pairs: int, longer: float = 0.5) -> dict[str, float]:
    share = right / pairs
    error = (share * (1 - share) / pairs) ** 0.5
    return {
        "accuracy": share, "accuracy_se": error, "accuracy_pairs": pairs, "longer_wins": longer,
    }  # fmt: skip


@pytest.mark.parametrize(("right", "pairs"), [(0, 5), (28, 53), (12, 24), (5, 5), (234, 300)])
def test_the_interval_is_wilsons(right: int, pairs: int) -> None:
    ours = judge_accuracy("RM", figures(right, pairs)).interval
    theirs = binomtest(right, pairs).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_pairs_of_one_prompt_count_as_the_independent_ones_that_they_are() -> None:
    """An error twice that of 100 pairs is that of 25: 80 % is then 60.9 % to 91.1 %."""
    known = judge_accuracy("RM", figures(80, 100) | {"accuracy_se": 0.08})
    assert (known.interval.low, known.interval.high) == pytest.approx((0.609, 0.911), abs=5e-4)
    assert known.pairs == 100


def test_three_of_three_right_is_not_shown() -> None:
    assert "better than a coin: right on 100.0% of 3" in judge_accuracy("RM", figures(3, 3)).doubt
    assert judge_accuracy("RM", figures(5, 5)).doubt == ""


@pytest.mark.parametrize("longer", [0.3, 0.7])
def test_length_is_known_both_ways(longer: float) -> None:
    """70 % by length, whichever is preferred: 75 % ± 4 % is not beyond it, 85 % ± 4 % is."""
    known = judge_accuracy("RM", figures(75, 100, longer))
    assert known.doubt.startswith("RM is not shown to know more than length: right on 75.0% of")
    assert known.sentence == known.doubt and known.doubt.endswith("length alone on 70.0%")
    known = judge_accuracy("RM", figures(85, 100, longer))
    assert known.doubt == "" and known.sentence.startswith("RM knows more than length")


def test_only_who_was_measured_on_test_pairs_is_known() -> None:
    pair_sets = {"test": {"figures": figures(80, 100)}}
    measured = {"RM": pair_sets, "RM_Base": {"fresh": pair_sets["test"]}}
    found = judge_accuracies(("oracle", "RM", "RM_Base"), measured)
    assert [one.judge for one in found] == ["RM"]


def test_nothing_observed_is_nothing_known() -> None:
    assert share_interval(0.0, 0).high == 1.0
    assert judge_accuracy("RM", figures(0, 1) | {"accuracy_pairs": 0}).doubt
