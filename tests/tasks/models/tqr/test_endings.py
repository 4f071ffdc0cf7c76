"""Responses that were cut get an end, and what has nothing to learn rewards from is refused."""

from __future__ import annotations

import pytest

from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tqr.endings import closed, ended_slots, has_ended, require_irl
from tasks.settings.errors import ConfigError, RecordError

END = 2


def encoded(*responses: list[int], prompt: tuple[int, ...] = (5,)) -> EncodedGroup:
    return EncodedGroup(list(prompt), list(responses), False, [False] * len(responses))


def test_an_end_is_appended_within_the_limit() -> None:
    """It costs a cut response its last token where there is no more room."""
    group = encoded([7, 8, 2], [7, 8, 9], [7], [])
    assert has_ended(group, END) == [True, False, False, False]
    assert closed(group, END, 3).responses_ids == [[7, 8, 2], [7, 8, 2], [7, 2], [2]]
    assert closed(group, END, 4).responses_ids[1] == [7, 8, 9, 2]
    assert group.responses_ids[1] == [7, 8, 9]


def test_ended_slots_stand_side_by_side() -> None:
    found = ended_slots([encoded([7, 2]), encoded([7], [8, 2])], END)
    assert found.tolist() == [[True, False], [False, True]]


def test_no_room_for_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1 tokens has no room"):
        closed(encoded([7]), END, 1)


def test_two_actions_are_needed_to_learn_from() -> None:
    require_irl(encoded([7, 2], [7, 8]), "g", END)
    with pytest.raises(RecordError, match="response 1 of the group g is empty"):
        require_irl(encoded([7, 2], [2]), "g", END)
    with pytest.raises(RecordError, match="response 0 of the group g was cut after one token"):
        require_irl(encoded([7]), "g", END)
    with pytest.raises(RecordError, match="prompt of the group g has no token"):
        require_irl(encoded([7, 2], prompt=()), "g", END)
