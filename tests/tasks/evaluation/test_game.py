"""The state of the game and its verdict."""

from __future__ import annotations

import pytest

from tasks.evaluation.game import game_state, verdict


def _state(**changes):
    given = {
        "chosen": [1.0, 0.0],
        "rejected": [0.0, 1.0],
        "gold": [2.0, 1.0],
        "samples": [[1.0, 0.0], [1.0, 3.0]],
        "gold_lengths": [10, 10],
        "sample_lengths": [[5, 5], [5, 20]],
    }
    return game_state(2, **(given | changes))


def test_by_hand() -> None:
    """Gaps (1, 2) and (0, -2): two of four won (the tie is wrong); margin 1/4; longer: 3/4."""
    state = _state(start_ece=0.0)
    assert state.gold_accuracy == 0.5
    assert state.margin == 0.25
    assert state.longer_is_gold == 0.75
    assert state.human_accuracy == 0.5
    assert state.human_accuracy_se == pytest.approx(0.125**0.5)
    assert state.ece_drift == state.ece
    assert "caught up" in state.verdict
    assert "verdict" not in state.metrics() and state.metrics()["margin"] == 0.25


def test_the_start_has_not_drifted() -> None:
    assert _state().ece_drift == 0


@pytest.mark.parametrize(
    ("accuracy", "longer", "words"),
    [
        (0.3, 0.5, "overtaken gold: fresh samples score higher in 70%"),
        (0.5, 0.5, "caught up"),
        (0.75, 0.5, "the game is on"),
        (1.0, 0.99, "trivially separated: 100% of pairs, and length alone tells 99%"),
        (1.0, 0.02, "and length alone tells 98%"),
        (0.96, 0.6, "though length alone tells 60%"),
    ],
)
def test_verdicts(accuracy: float, longer: float, words: str) -> None:
    assert words in verdict(accuracy, longer)


def test_queries_must_match() -> None:
    with pytest.raises(ValueError, match="gold 2 and samples 1"):
        _state(samples=[[1.0]])
