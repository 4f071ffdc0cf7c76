"""Every published form is read for what it is, or refused by name with what was seen."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks.data.groups import Group, Message, text_hash
from tasks.data.sources.forms.form import Cell
from tasks.data.sources.forms.recognition import Recogniser, UnknownFormError
from tasks.data.sources.forms.refused import REFUSED
from tasks.data.sources.forms.registry import FORMS, require_format
from tasks.settings.errors import ConfigError, RecordError
from tests.tasks.data.sources.forms.published import READ, REFUSED_ROWS, Published

ASKED = (Message("user", "2 + 2?"),)
PAIR = Group(ASKED, ("4", "5"), (1.0, 0.0))
TERSE_PAIR = Group((Message("system", "Be terse."), *ASKED), ("4", "5"), (1.0, 0.0))
HUMAN = "\n\nHuman: 2 + 2?\n\nAssistant:"


def user(text: str = "2 + 2?") -> dict[str, Any]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def whole(answer: str) -> list[dict[str, Any]]:
    return [user(), bot(answer)]


CASES = [
    *[(one.form, one.row, one.group) for one in READ],
    ("groups", PAIR.to_json(), PAIR),
    ("apo_release", {"text": [f"{HUMAN} 4", f"{HUMAN} 5"], "scores": [1.0, 0]}, PAIR),
    ("alpaca", {"instruction": "2 + 2?", "input": "", "output": "4"}, Group(ASKED, ("4",))),
    ("pairs", {"prompt": "2 + 2?", "chosen": "4", "rejected": "5", "margin": 1}, PAIR),
    ("pairs", {"prompt": [user()], "chosen": [bot("4")], "rejected": [bot("5")]}, PAIR),
    ("pairs", {"prompt": None, "chosen": whole("4"), "rejected": whole("5")}, PAIR),
    ("pairs", {"prompt": HUMAN, "chosen": f"{HUMAN} 4", "rejected": f"{HUMAN} 5"}, PAIR),
    ("pairs", {"prompt": "2 + 2?", "chosen": bot("4"), "rejected": bot("5")}, PAIR),
    (
        "pairs",
        {
            "prompt": [{"role": "system", "content": "Be terse."}, user()],
            "chosen": whole("4"),
            "rejected": whole("5"),
        },
        TERSE_PAIR,
    ),
    ("completion", {"prompt": "2 + 2?", "completion": "4"}, Group(ASKED, ("4",))),
    ("messages", {"messages": [user()]}, Group(ASKED)),
    (
        "texts",
        {"text": " So good.", "label": 1, "id": "a/1", "rating": 9},
        Group(
            (),
            ("So good.",),
            (1.0,),
            ("human",),
            text_hash("text", "So good."),
            {"record": "a/1"},
        ),
    ),
]


def read(row: dict[str, Any], name: str = "auto", **fields: str) -> tuple[str, Group, list[str]]:
    """Return the form, the group and the columns that nobody read."""
    reading, group, ignored = Recogniser(name, fields).read(row)
    return reading.name, group, list(ignored)


@pytest.mark.parametrize(("name", "row", "expected"), CASES)
def test_a_row_is_recognised_and_read(name: str, row: dict, expected: Group) -> None:
    before = copy.deepcopy(row)
    assert read(row)[:2] == (name, expected)
    assert read(row, name)[:2] == (name, expected)
    assert row == before


def test_every_form_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(FORMS)
    assert {one.form for one in REFUSED_ROWS} == set(REFUSED)


@pytest.mark.parametrize("one", REFUSED_ROWS, ids=lambda one: one.name)
def test_a_known_form_that_is_not_read_is_refused_by_name(one: Published) -> None:
    with pytest.raises(UnknownFormError) as caught:
        read(one.row)
    said = str(caught.value)
    assert f"the form {one.form!r}, which is not read: {REFUSED[one.form].why}" in said
    assert ", ".join(sorted(one.row)) in said


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": [1, 2]}, "2 scores for 1"),
        (
            "kwise",
            {"prompt": "a", "completions": ["b"], "scores": ["1"]},
            "finite number, is the text “1”",
        ),
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": [True]}, "is true"),
        (
            "kwise",
            {"prompt": "a", "completions": ["b"], "scores": [float("inf")]},
            "is the number inf",
        ),
        ("kwise", {"prompt": "a", "completions": [], "scores": []}, "list with entries"),
        ("apo_release", {"text": ["a<sep>b", "c<sep>d"], "scores": [1, 0]}, "share one prompt"),
        ("apo_release", {"text": ["a b"], "scores": [1]}, "neither '<sep>' nor a dialogue"),
        ("gpt4llm", {"user_input": "a", "responses_and_scores": ["b"]}, "should hold objects"),
        (
            "pairs",
            {"prompt": "a", "chosen": 4, "rejected": "b"},
            "'chosen' should be a text or messages",
        ),
        ("pairs", {"prompt": "a", "chosen": None, "rejected": "b"}, "'chosen' is missing"),
        ("pairs", {"chosen": [bot("4")], "rejected": [bot("5")]}, "do not share a prompt"),
        (
            "pairs",
            {"prompt": "3 + 3?", "chosen": whole("4"), "rejected": whole("5")},
            "'prompt' is not what the dialogues",
        ),
        (
            "pairs",
            {"prompt": "2 + 2?", "chosen": whole("4"), "rejected": [user("3?"), bot("5")]},
            "do not share a prompt, they differ earlier",
        ),
        ("pairs", {"prompt": "a", "chosen": [user()], "rejected": "b"}, "be the assistant's"),
        (
            "pairs",
            {"prompt": "a", "chosen": "[{'role': 'assistant', 'content': 'b'}]", "rejected": "c"},
            "'chosen' holds messages written as a text",
        ),
        (
            "message_pairs",
            {"messages": whole("6"), "chosen": bot("4"), "rejected": bot("5")},
            "ends with an answer that is not the one in 'chosen'",
        ),
        ("alpaca", {"instruction": "a", "output": "\udc00"}, "half a surrogate"),
        ("golden", {"instruction": "a", "golden_x": "b", "golden_y": "c"}, "'golden…' is missing"),
        ("texts", {"text": 3}, "'text' should be a text"),
        ("texts", {"text": "a", "label": 2}, "'label' should be 1, 0 or absent, is 2"),
        ("texts", {"text": "a", "label": "pos"}, "absent, is 'pos'"),
        ("auto", {"prompt": "a", "completion": "b", "label": "1"}, "or false, is the text “1”"),
        (
            "labelled",
            {"prompt": "a", "completion": "b", "label": 3},
            "true or false, is the number 3",
        ),
        (
            "one_or_two",
            {"prompt": "a", "response_1": "b", "response_2": "c", "preference": 0},
            "'preference' should be 1 or 2, is 0",
        ),
        (
            "a_or_b",
            {"prompt": "a", "response_a": "b", "response_b": "c", "preference": 1},
            "should be a, b or tie, is 1",
        ),
        ("ranked_outputs", {"instruction": "a", "output": ["b"]}, "at least two, the best first"),
    ],
)
def test_a_bad_row_says_what_is_wrong(name: str, row: dict, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read(row, name)


def test_a_column_read_under_another_name_is_told_in_the_error() -> None:
    with pytest.raises(RecordError, match=r"holds the text “b” \(form answers: 'completions' is r"):
        read({"prompt": "a", "completions": ["b", "c"]})


def test_the_format_may_be_chosen_though_columns_say_more() -> None:
    row = {"prompt": "2 + 2?", "response": "4", "reward": 1}
    assert read(row, "completion") == ("completion", Group(ASKED, ("4",)), ["reward"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"images": ["a.png"]}, "the column 'images' holds images, which are not read"),
        ({"tools": '[{"name": "add"}]'}, "the column 'tools' holds tool calls"),
    ],
)
def test_what_is_more_than_text_is_refused_where_it_is_there(more: dict, words: str) -> None:
    row = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
    with pytest.raises(RecordError, match=words):
        read(row | more)
    empty = {name: type(value)() for name, value in more.items()}
    assert read(row | empty)[1:] == (PAIR, [])


def test_columns_that_nobody_reads_are_named_if_they_are_filled() -> None:
    row = {"id": 3, "prompt": "2 + 2?", "chosen": "4", "rejected": "5", "note": "", "margin": 0}
    assert read(row)[2] == ["margin"]
    assert read(row | {"system": "Be terse.", "prompt_id": None})[2] == ["margin", "system"]


def test_fields_map_columns_and_put_others_around_the_prompt() -> None:
    row = {"system": "Be terse.", "question": "2 + 2?", "chosen": "4", "rejected": "5"}
    assert read(row, prompt="question") == ("pairs", PAIR, ["system"])
    assert read(row, prompt="question", system="system") == ("pairs", TERSE_PAIR, [])
    row = {"prompt": "Add", "numbers": "2, 2", "before": [["Hi", "Yes?"]], "completion": "4"}
    assert read(row, input="numbers", history="before")[1].prompt == (
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("user", "Add\n\n2, 2"),
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"system": 3}, "'system' should be a text"),
        ({"history": [["a", "b", "c"]]}, "pairs of a question and its answer"),
        ({"history": "a"}, "'history' should be a list of messages"),
        ({"prompt": [{"role": "system", "content": "a"}], "system": "b"}, "own system turn says"),
        ({"prompt": [bot("a")], "input": "b"}, "no turn of the user's"),
    ],
)
def test_a_context_that_cannot_be_placed_is_refused(row: dict, words: str) -> None:
    fields = {name: name for name in row if name != "prompt"}
    with pytest.raises(RecordError, match=words):
        read({"prompt": "x", "completion": "y"} | row, **fields)


def test_the_texts_of_a_prompt_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?", "image": None}]
    row = {"prompt": [{"role": "user", "content": parts}], "chosen": "4", "rejected": "5"}
    assert read(row)[1] == PAIR
    parts[0] = {"type": "image", "image": "a.png"}
    with pytest.raises(RecordError, match="'prompt' holds a part of type 'image'; only"):
        read(row)


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]},
        {"role": "tool", "content": "4"},
        {"from": "function_call", "value": "add"},
    ],
)
def test_tool_calls_are_refused_by_that_word(turn: dict) -> None:
    with pytest.raises(RecordError, match="'messages' holds tool calls"):
        read({"messages": [user(), turn, bot("4")]})


def test_cells_of_tables_without_types_are_numbers_where_numbers_are_needed() -> None:
    row = {"prompt": Cell("2 + 2?"), "completion": Cell("4"), "label": Cell("False")}
    assert read(row)[:2] == ("labelled", Group(ASKED, ("4",), (0.0,)))
    row = {"prompt": Cell("2 + 2?"), "response": Cell("4"), "score": Cell("2.5")}
    assert read(row)[:2] == ("rated", Group(ASKED, ("4",), (2.5,)))


@pytest.mark.parametrize("verdict", ["tie", "tie (bothbad)", "both_bad"])
def test_a_tie_is_no_preference(verdict: str) -> None:
    row = {"prompt": "a", "response_a": "b", "response_b": "c", "winner": verdict}
    assert read(row)[1].scores == (0.0, 0.0)


def test_an_unknown_format_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="unknown data format 'pair'; did you mean 'pairs'"):
        require_format("pair")


@pytest.mark.parametrize("label", [None, -1])
def test_an_unlabelled_text_has_no_score(label: int | None) -> None:
    """-1 is how the hub marks the reviews of IMDB that nobody labelled."""
    assert read({"text": "a", "label": label})[1].scores is None
    assert read({"text": "a"})[1].scores is None


def test_line_breaks_of_web_pages_are_line_breaks() -> None:
    text = "One. <br /><br>Two <BR/>\nthree <br four"
    assert read({"text": text})[1].responses == ("One.\nTwo\nthree <br four",)
