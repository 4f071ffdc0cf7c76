"""Which responses are kept, and what stops a selection."""

from __future__ import annotations

import pytest

from tasks.data.groups import Group, Message
from tasks.settings.errors import ConfigError
from tasks.training.methods.selection import (
    all_if_scores_differ,
    best_against_worst,
    first_responses,
)

GROUP = Group(
    (Message("user", "tea?"),),
    ("a", "b", "c"),
    (1.0, 3.0, 1.0),
    extra={"ended": [True, False, True], "ids": [[1], [2], [3]]},
)


def test_a_pair_is_the_best_and_the_first_of_the_worst() -> None:
    (pair,) = best_against_worst(GROUP)
    assert (pair.responses, pair.scores) == (("b", "a"), (3.0, 1.0))
    assert pair.extra == {"ended": [False, True], "ids": [[2], [1]]}


def test_a_group_is_kept_whole_or_not_at_all() -> None:
    assert all_if_scores_differ(GROUP) == [GROUP]
    assert all_if_scores_differ(Group((), ("a", "b"), (1.0, 1.0))) == []


def test_the_first_responses_keep_what_was_noted_of_them() -> None:
    assert first_responses(GROUP, None) is first_responses(GROUP, 3) is GROUP
    kept = first_responses(GROUP, 2)
    assert (kept.responses, kept.scores, kept.id) == (("a", "b"), (1.0, 3.0), GROUP.id)
    assert kept.extra == {"ended": [True, False], "ids": [[1], [2]]}


def test_fewer_responses_than_k_are_refused_with_the_numbers() -> None:
    words = f"is 8, and group {GROUP.id} “.*” has 3 responses: .*lower it to 3"
    with pytest.raises(ConfigError, match=words):
        first_responses(GROUP, 8)


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (best_against_worst, "a method on pairs"),
        (all_if_scores_differ, "a method on scored groups"),
    ],
)
def test_what_cannot_be_compared_is_refused(select, names) -> None:
    with pytest.raises(ConfigError, match=f"{names} needs at least 2 scored responses"):
        select(Group((), ("a",), (1.0,)))
    with pytest.raises(ConfigError, match=f"{names} needs a score for every response"):
        select(Group((), ("a", "b")))
