"""The state of the game and its verdict."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Group
from tasks.evaluation.apo.game import game_state, verdict
from tasks.evaluation.metrics.estimates import Interval
from tasks.evaluation.reward_model import metrics_of, take_apart


def measured(*rows: tuple[tuple[float, ...], tuple[int, ...]]) -> dict[str, float]:
    """Figures of groups given as (scores, lengths in characters)."""
    groups = [
        # Equal texts would be ties.
        Group((), tuple(map(str.__mul__, "abcd", lengths)), scores, id=str(number))
        for number, (scores, lengths) in enumerate(rows)
    ]
    metrics: dict[str, Any] = metrics_of(take_apart(groups), 10)[1]["figures"]
    return metrics


HUMAN = measured(((1.0, 0.0), (3, 3)), ((0.0, 1.0), (3, 3)))
FRESH = measured(((2.0, 1.0, 0.0), (10, 5, 5)), ((1.0, 1.0, 3.0), (10, 5, 20)))


def test_by_hand() -> None:
    """Gaps (1, 2) and (0, -2): two of four won (the tie is wrong); margin 1/4; longer: 3/4."""
    state = game_state(2, HUMAN, FRESH, start_ece=0.0)
    assert state.epoch == 2
    assert state.gold_accuracy == 0.5
    assert state.margin == 0.25
    assert state.longer_is_gold == 0.75
    assert state.human_accuracy == 0.5
    # Two pairs: the error of a mean of 1 and 0 is sqrt(1/2) / sqrt(2).
    assert state.human_accuracy_se == pytest.approx(0.5)
    # By query: deviations (1/2 + 1/2) and (-1/2 - 1/2), so sqrt(2 · 2) / 4.
    assert state.gold_accuracy_se == pytest.approx(0.5)
    assert state.ece_drift == state.ece == HUMAN["ece"]
    assert (state.matched_accuracy, state.matched_pairs) == (0.0, 0)
    assert "undecided" in state.verdict
    assert state.margin == 0.25


def test_pairs_of_one_length_are_measured_apart() -> None:
    """Lengths 10 against 10 (won), 9 (lost) and 5 (left out)."""
    state = game_state(1, HUMAN, measured(((2.0, 1.0, 3.0, 0.0), (10, 10, 9, 5))))
    assert (state.matched_accuracy, state.matched_pairs) == (0.5, 2)


def test_drift_is_against_the_start() -> None:
    assert game_state(0, HUMAN, FRESH).ece_drift == 0
    late = game_state(2, HUMAN, FRESH, start_ece=HUMAN["ece"] - 0.125)
    assert late.ece_drift == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("accuracy", "ends", "longer", "words"),
    [
        (0.3, (0.2, 0.4), 0.5, "overtaken gold: gold scores higher than fresh samples in only 30%"),
        (0.5, (0.45, 0.55), 0.5, "caught up"),
        (0.75, (0.7, 0.8), 0.5, "the game is on"),
        (1.0, (0.96, 1.0), 0.99, "trivially separated: 100% of pairs (95 %: 96% to 100%), and"),
        (1.0, (0.96, 1.0), 0.02, "and length alone tells 98%"),
        (0.97, (0.95, 0.99), 0.6, "though length alone tells 60%"),
    ],
)
def test_verdicts(accuracy: float, ends: tuple[float, float], longer: float, words: str) -> None:
    assert words in verdict(accuracy, longer, Interval(*ends))


@pytest.mark.parametrize(
    ("accuracy", "ends", "words"),
    [
        (
            0.57,
            (0.31, 0.83),
            "undecided: gold is told from fresh samples in 57% of pairs (95 %: 31",
        ),
        (0.57, (0.49, 0.65), "undecided"),
        (0.3, (0.1, 0.6), "undecided"),
        (0.5, (0.3, 0.7), "undecided"),
        (0.52, (0.46, 0.58), "caught up"),
        (0.57, (0.53, 0.61), "the game is on"),
        (0.3, (0.2, 0.4), "overtaken"),
        (1.0, (0.84, 1.0), "the game is on"),
    ],
)
def test_no_verdict_claims_what_its_interval_does_not_carry(
    accuracy: float, ends: tuple[float, float], words: str
) -> None:
    assert words in verdict(accuracy, 0.5, Interval(*ends))


@pytest.mark.parametrize("ends", [(0.45, 0.55), (0.3, 0.7), (0.2, 0.4)])
def test_a_policy_catches_up_with_nobody_who_never_told(ends: tuple[float, float]) -> None:
    told = verdict(sum(ends) / 2, 0.5, Interval(*ends), was_told=False)
    assert "caught up" not in told and "overtaken" not in told
    assert told.endswith("no reward model of the game was shown to tell them before")


def test_queries_that_agree_are_no_more_than_their_number() -> None:
    """Three queries of two samples each, all told: Wilson's lower end of 3 of 3 is 43.8 %."""
    rows = [((2.0, 1.0, 0.0), (5, 5, 5))] * 3
    state = game_state(1, HUMAN, measured(*rows), queries=3)
    assert state.gold_accuracy == 1.0 and state.gold_low == pytest.approx(0.438, abs=1e-3)
    assert "undecided" in state.verdict and not state.tells_gold
