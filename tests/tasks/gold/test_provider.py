"""Collecting answers: what an earlier attempt kept is never asked again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tasks.data.groups import Group, Message
from tasks.gold.provider import GoldAnswer, collect_answers
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace


class Teacher:
    """Answers in reverse order, and stops working after so many answers."""

    name, unit = "teacher", "queries"

    def __init__(self, strength: int = 10**9) -> None:
        self.strength, self.asked = strength, []

    def metrics(self) -> dict[str, float]:
        return {}

    def answer(
        self, queries: Sequence[Group], workspace: Workspace
    ) -> Iterator[tuple[str, GoldAnswer]]:
        self.asked.append([query.id for query in queries])
        for done, query in enumerate(reversed(queries)):
            if done == self.strength:
                raise ConnectionError("the teacher went home")
            text = f"answer to\n{query.prompt[0].content} é"
            yield query.id, GoldAnswer(text, "teacher", {"dollars": 0.5})


QUERIES = [Group((Message("user", f"question {n}"),)) for n in range(7)]


def test_answers_come_in_the_order_of_the_queries(tmp_path: Path) -> None:
    found = collect_answers(Teacher(), QUERIES, Workspace(tmp_path), NullLog(), batch=3)
    assert list(found) == [query.id for query in QUERIES]
    assert found[QUERIES[4].id] == GoldAnswer(
        "answer to\nquestion 4 é", "teacher", {"dollars": 0.5}
    )


def test_resuming_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    whole = collect_answers(Teacher(), QUERIES, Workspace(tmp_path / "other"), NullLog())
    first = Workspace(tmp_path / "attempt-1")
    with pytest.raises(ConnectionError):
        collect_answers(Teacher(strength=5), QUERIES, first, NullLog(), batch=2)
    second = Workspace(tmp_path / "attempt-2")
    assert second.adopt_parts([first.path]) == []
    teacher = Teacher()
    assert collect_answers(teacher, QUERIES, second, NullLog(), batch=2) == whole
    # Two batches of two were kept, of the five answers that came.
    assert teacher.asked == [[query.id for query in QUERIES[:3]]]
    again = Teacher()
    assert collect_answers(again, QUERIES, second, NullLog()) == whole
    assert again.asked == []
