"""What a group becomes as a row, by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.data.groups import Group
from tasks.stages.export.row_forms import FORMS, GROUPS, form_of, is_plain, schema
from tests.tasks.stages.export.small_store import DIALOGUE, GOLD_FIRST, asked

QUERY = [{"role": "user", "content": "q"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


CASES = [
    (asked("q"), "prompt", [{"prompt": "q"}], [{"prompt": QUERY}]),
    (
        asked("q", "a"),
        "demonstration",
        [{"prompt": "q", "completion": "a"}],
        [{"prompt": QUERY, "completion": said("a")}],
    ),
    (
        asked("q", "good", "bad", scores=(7.0, 3.0)),
        "preference",
        [{"prompt": "q", "chosen": "good", "rejected": "bad"}],
        [{"prompt": QUERY, "chosen": said("good"), "rejected": said("bad")}],
    ),
    (
        asked("q", "a", "b", "c", scores=(3.0, 1.0, 2.0)),
        "scored",
        [{"prompt": "q", "completions": ["a", "b", "c"], "scores": [3.0, 1.0, 2.0]}],
        [
            {
                "prompt": QUERY,
                "completions": [said("a"), said("b"), said("c")],
                "scores": [3.0, 1.0, 2.0],
            }
        ],
    ),
    (
        asked("q", "a", "b"),
        "unscored",
        [{"prompt": "q", "completions": ["a", "b"]}],
        [{"prompt": QUERY, "completions": [said("a"), said("b")]}],
    ),
    (Group((), ("a text",)), "text", [{"text": "a text"}], [{"text": "a text"}]),
    (
        Group((), ("a text",), (1.0,)),
        "labelled_text",
        [{"text": "a text", "label": 1.0}],
        [{"text": "a text", "label": 1.0}],
    ),
]


@pytest.mark.parametrize(("group", "name", "plain", "chat"), CASES, ids=[c[1] for c in CASES])
def test_rows_of_a_group(group: Group, name: str, plain: list, chat: list) -> None:
    form = form_of(group)
    assert form.name == name
    for messages, expected in ((False, plain), (True, chat)):
        rows = list(form.rows(group, messages))
        assert rows == expected
        columns = schema(form, messages)
        assert pa.Table.from_pylist(rows, columns).to_pylist() == expected


def test_gold_is_chosen_against_each_sample() -> None:
    rows = list(form_of(GOLD_FIRST).rows(GOLD_FIRST, False))
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("since", "no"), ("since", "go")]


def test_a_tie_is_no_preference() -> None:
    assert form_of(asked("q", "a", "b", scores=(1.0, 1.0))).name == "scored"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_scores_that_count_are_kept(count: int) -> None:
    group = asked("q", *"abc"[:count], scores=(3.0, 2.0, 1.0)[:count])
    assert form_of(group, keep_scores=True).name == "scored"


def test_plain_is_one_turn_of_the_user() -> None:
    assert is_plain(asked("q")) and is_plain(Group((), ("text",)))
    assert not is_plain(DIALOGUE) and not is_plain(Group(DIALOGUE.prompt[:1], ()))


def test_our_own_fields_are_read_back() -> None:
    (row,) = GROUPS.rows(DIALOGUE, True)
    (read,) = pa.Table.from_pylist([row], schema(GROUPS, True)).to_pylist()
    assert Group.from_json(read) == DIALOGUE


def test_every_form_is_listed() -> None:
    assert {case[1] for case in CASES} | {"groups"} == {form.name for form in FORMS}
