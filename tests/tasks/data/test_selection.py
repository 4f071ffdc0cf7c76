"""Keeping some responses keeps what is noted of each."""

from __future__ import annotations

from tasks.data.groups import Group, Message
from tasks.data.selection import keep_responses

GROUP = Group(
    (Message("user", "ask"),),
    ("a", "b", "c"),
    (1.0, 2.0, 3.0),
    ("x", "y", "z"),
    extra={"tokens": [1, 2, 3], "ended": [True, False, True], "ids": [None, [4], [5]], "row": 7},
)


def test_everything_moves_along_in_the_order_asked() -> None:
    kept = keep_responses(GROUP, [2, 0])
    assert kept.responses == ("c", "a")
    assert (kept.scores, kept.sources) == ((3.0, 1.0), ("z", "x"))
    assert kept.extra == {"tokens": [3, 1], "ended": [True, True], "ids": [[5], None], "row": 7}
    assert (kept.id, kept.prompt) == (GROUP.id, GROUP.prompt)
    assert len(GROUP.extra["tokens"]) == 3


def test_what_nobody_noted_stays_unnoted() -> None:
    kept = keep_responses(Group((), ("a", "b")), [1])
    assert (kept.responses, kept.scores, kept.sources, kept.extra) == (("b",), None, None, {})
