"""A part of many groups is a sample of them, and some responses keep what is noted of each."""

from __future__ import annotations

import pytest

from tasks.data.groups import Group, Message
from tasks.data.selection import keep_responses, sampled

GROUP = Group(
    (Message("user", "ask"),),
    ("a", "b", "c"),
    (1.0, 2.0, 3.0),
    ("x", "y", "z"),
    extra={"tokens": [1, 2, 3], "ended": [True, False, True], "ids": [None, [4], [5]], "row": 7},
)


TEXTS = [Group((), (f"text {i}",), (float(i < 500),), id=str(i)) for i in range(1000)]


def test_a_sample_of_a_sorted_file_has_its_mixture() -> None:
    """Of 200 texts drawn from 1,000, the first half with label 1, about 100 have it."""
    part = list(sampled(TEXTS, 200))
    assert len(part) == 200 and part == [one for one in TEXTS if one in part]
    assert 80 < sum(group.scores[0] for group in part if group.scores) < 120


def test_a_smaller_sample_is_within_a_larger_one_whatever_the_order() -> None:
    small, large = ({group.id for group in sampled(TEXTS, n)} for n in (20, 200))
    assert small < large
    assert {group.id for group in sampled(reversed(TEXTS), 20)} == small
    assert {group.id for group in sampled(TEXTS, 20, seed=1)} != small


@pytest.mark.parametrize("most", [None, 1000, 5000])
def test_a_sample_of_all_is_all(most: int | None) -> None:
    assert list(sampled(TEXTS, most)) == TEXTS


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
