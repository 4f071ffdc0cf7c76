"""The best of several candidates, by scores and by a judge who likes length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.endpoints.accounts import NOBODY
from tasks.evaluation.judging.choice import best_by_judge, best_by_score, pick_candidates
from tasks.evaluation.judging.config import ChoiceConfig
from tasks.settings.log import NullLog
from tests.tasks.evaluation.judging.test_matchup import Judge, config

CANDIDATES = (("short", "a long answer", "a longer answer still"), ("only one",), ("tie", "eit"))


def groups(scores: tuple[tuple[float, ...], ...] | None = None) -> list[Group]:
    return [
        Group(
            (Message("user", f"question {number}?"),),
            texts,
            scores=scores[number] if scores else None,
            sources=tuple("m" for _ in texts),
            id=f"q{number}",
        )
        for number, texts in enumerate(CANDIDATES)
    ]


def test_the_highest_score_wins_and_of_equal_ones_the_first() -> None:
    assert best_by_score(groups(((1.0, 3.0, 2.0), (0.0,), (1.0, 1.0)))) == {
        "q0": 1,
        "q1": 0,
        "q2": 0,
    }


def test_the_best_so_far_meets_the_next_one_and_stays_on_a_tie() -> None:
    """q0: short loses to a long answer, which loses to the third; two matches, two orders each."""
    judge = Judge()
    found = best_by_judge(groups(), config(), judge, NullLog())  # type: ignore[arg-type]
    assert found == {"q0": 2, "q1": 0, "q2": 0}
    assert len(judge.asked) == 2 * 3


def test_the_choice_is_written_with_its_number(tmp_path: Path) -> None:
    scored = groups(((1.0, 3.0, 2.0), (0.0,), (2.0, 1.0)))
    write_groups(tmp_path / "in" / "candidates", groups())
    (tmp_path / "in" / "quality.json").write_text("{}")
    write_groups(tmp_path / "scores", scored)
    choice = ChoiceConfig(dev_share=0.0)
    found = pick_candidates(
        tmp_path / "in", tmp_path / "scores", choice, tmp_path / "out", NullLog(), NOBODY
    )
    assert found == {"train": 3.0, "dev": 0.0, "candidates": 6.0, "first_share": 0.5}
    first, *_ = read_groups(tmp_path / "out" / "train")
    assert first.responses == ("a long answer",) and first.sources == ("m",)
    assert first.extra == {"candidate": 1, "candidates": 3}
    assert json.loads((tmp_path / "out" / "quality.json").read_text()) == {}


def test_a_question_with_a_reference_cannot_choose_one() -> None:
    with pytest.raises(ValueError, match="which is what is chosen here"):
        ChoiceConfig(judge=config(question="instruction"))
