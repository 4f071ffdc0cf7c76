"""Reward models and a judge: who names the same winners, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.judging.agreement import agreement, opinions, read_scores, winner_by
from tasks.evaluation.judging.verdicts import Judgement
from tasks.settings.errors import ConfigError

WIN, LOSE = Judgement("win", ("A", "B")), Judgement("lose", ("B", "A"))
TIE, INVALID = Judgement("tie", ("A", "A")), Judgement("invalid", ("A", None))


def scored(*scores: tuple[float, ...]) -> list[Group]:
    return [
        Group((Message("user", f"{number}?"),), ("a", "b")[: len(one)], scores=one, id=f"q{number}")
        for number, one in enumerate(scores)
    ]


def test_only_pairs_in_which_both_prefer_one_count() -> None:
    """Of q0 … q5 the judge decides four, of which the reward model knows q0, q1 and q3: 2 of 3."""
    ids = [f"q{number}" for number in range(6)]
    scores = {"q0": (2.0, 1.0), "q1": (0.0, 1.0), "q2": (1.0, 0.0), "q3": (0.5, 1.0)}
    scores |= {"q4": (1.0, 1.0)}
    found = agreement(ids, [WIN, LOSE, TIE, WIN, WIN, INVALID], scores)
    assert found is not None and (found.count, found.value) == (3, 2 / 3)
    assert agreement(ids[:1], [TIE], scores) is None
    assert [winner_by(one) for one in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), None)] == [1, -1, 0, 0]


def test_scores_are_those_of_the_first_answers(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_groups(ours, scored((3.0, 9.0), (1.0,)))
    write_groups(theirs, scored((2.0,), (4.0,)))
    both = read_scores({"RM_Test": ours, "RM_All": ours}, {"RM_Test": theirs})
    assert both == {"RM_Test": {"q0": (3.0, 2.0), "q1": (1.0, 4.0)}}
    pairs = read_scores({"RM_Test": ours}, None)
    assert pairs == {"RM_Test": {"q0": (3.0, 9.0)}}, "a second answer is the opponent"


def test_a_reward_model_that_did_not_score_is_refused_by_name() -> None:
    scores = {"RM_Test": {"q0": (1.0, 2.0), "q1": (2.0, 2.0)}}
    assert opinions("RM_Test", scores) == {"q0": "lose", "q1": "tie"}
    with pytest.raises(ConfigError, match="which did not score both sides; did you mean"):
        opinions("RM_Tset", scores)
