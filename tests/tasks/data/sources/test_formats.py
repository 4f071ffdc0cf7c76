"""Every published form gives the same record, is recognised, and names what is wrong."""

from __future__ import annotations

import copy

import pytest

from tasks.data.groups import Group, Message, text_hash
from tasks.data.sources.formats import FORMATS, detect, require_format
from tasks.settings.errors import ConfigError, RecordError

PROMPT = (Message("user", "2 + 2?"),)
PAIR = Group(PROMPT, ("4", "5"), (1.0, 0.0))
SCORED = Group(PROMPT, ("4", "five", "5"), (3.0, 2.5, -1.0))
HUMAN = "\n\nHuman: 2 + 2?\n\nAssistant:"
ASSISTANT = {"role": "assistant"}

CASES = [
    ("groups", PAIR.to_json(), PAIR),
    (
        "apo_release",
        {"text": [f"{HUMAN}<sep> 5", f"{HUMAN}<sep>4"], "scores": [0, 1], "query_id": "q7"},
        Group(PROMPT, ("4", "5"), (1.0, 0.0), extra={"record": "q7"}),
    ),
    ("apo_release", {"text": [f"{HUMAN} 4", f"{HUMAN} 5"], "scores": [1.0, 0]}, PAIR),
    (
        "kwise",
        {"prompt": "2 + 2?", "completions": ["five", "5", "4"], "scores": [2.5, -1, 3]},
        SCORED,
    ),
    (
        "gpt4llm",
        {
            "user_input": "2 + 2?",
            "responses_and_scores": [
                {"response": "5", "source": "opt", "score": 4.0},
                {"response": "4", "source": "gpt4", "score": 9},
            ],
        },
        Group(PROMPT, ("4", "5"), (9.0, 4.0), ("gpt4", "opt")),
    ),
    (
        "webgpt",
        {
            "question": {"dataset": "eli5", "full_text": "2 + 2?"},
            "answer_0": "5",
            "answer_1": "4",
            "score_0": -0.5,
            "score_1": 0.5,
        },
        Group(PROMPT, ("4", "5"), (0.5, -0.5)),
    ),
    (
        "golden",
        {"id": "g1", "instruction": "2 + 2?", "golden_gpt4": "4", "responses": {"other": "5"}},
        Group(PROMPT, ("4",), sources=("gold",), extra={"record": "g1"}),
    ),
    ("alpaca", {"instruction": "2 + 2?", "input": "", "output": "4"}, Group(PROMPT, ("4",))),
    (
        "alpaca",
        {"instruction": "Add", "input": "2, 2", "output": "4"},
        Group((Message("user", "Add\n\n2, 2"),), ("4",)),
    ),
    ("hh_transcripts", {"chosen": f"{HUMAN} 4", "rejected": f"{HUMAN} 5"}, PAIR),
    ("pairs", {"prompt": "2 + 2?", "chosen": "4", "rejected": "5", "margin": 1}, PAIR),
    (
        "pairs",
        {
            "prompt": [{"role": "user", "content": "2 + 2?"}],
            "chosen": [ASSISTANT | {"content": "4"}],
            "rejected": [ASSISTANT | {"content": "5"}],
        },
        PAIR,
    ),
    (
        "pairs",
        {
            "chosen": [{"role": "user", "content": "2 + 2?"}, ASSISTANT | {"content": "4"}],
            "rejected": [{"role": "user", "content": "2 + 2?"}, ASSISTANT | {"content": "5"}],
        },
        PAIR,
    ),
    ("completion", {"prompt": "2 + 2?", "completion": "4"}, Group(PROMPT, ("4",))),
    (
        "messages",
        {"messages": [{"role": "user", "content": "2 + 2?"}, ASSISTANT | {"content": "4"}]},
        Group(PROMPT, ("4",)),
    ),
    ("messages", {"messages": [{"role": "user", "content": "2 + 2?"}]}, Group(PROMPT)),
    ("prompts", {"prompt": "2 + 2?"}, Group(PROMPT)),
    (
        "texts",
        {"text": " So good.", "label": 1, "id": "a/1"},
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


@pytest.mark.parametrize(("name", "row", "expected"), CASES)
def test_a_row_is_recognised_and_read(name: str, row: dict, expected: Group) -> None:
    before = copy.deepcopy(row)
    assert detect(row, "file") == name
    assert FORMATS[name].parse(row) == expected
    assert row == before


def test_every_format_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": [1, 2]}, "2 scores for 1"),
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": ["1"]}, "finite number, is '1'"),
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": [True]}, "is True"),
        ("kwise", {"prompt": "a", "completions": ["b"], "scores": [float("inf")]}, "is inf"),
        ("kwise", {"prompt": "a", "completions": [], "scores": []}, "list with entries"),
        ("apo_release", {"text": ["a<sep>b", "c<sep>d"], "scores": [1, 0]}, "share one prompt"),
        ("apo_release", {"text": ["a b"], "scores": [1]}, "neither '<sep>' nor a dialogue"),
        ("gpt4llm", {"user_input": "a", "responses_and_scores": ["b"]}, "should hold objects"),
        ("pairs", {"prompt": "a", "chosen": None, "rejected": "b"}, "'chosen' should be a text"),
        (
            "pairs",
            {"chosen": [ASSISTANT | {"content": "4"}], "rejected": [ASSISTANT | {"content": "5"}]},
            "do not share a prompt",
        ),
        ("alpaca", {"instruction": "a", "output": "\udc00"}, "half a surrogate"),
        ("golden", {"instruction": "a", "golden_x": "b", "golden_y": "c"}, "name it in `fields`"),
        ("texts", {"text": None}, "'text' should be a text"),
        ("texts", {"text": "a", "label": 2}, "'label' should be 1, 0 or absent, is 2"),
        ("texts", {"text": "a", "label": "pos"}, "absent, is 'pos'"),
    ],
)
def test_a_bad_row_says_what_is_wrong(name: str, row: dict, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        FORMATS[name].parse(row)


def test_unknown_columns_list_the_known_formats() -> None:
    with pytest.raises(ConfigError, match=r"x\.jsonl.*columns answer, question.*pairs: chosen"):
        detect({"question": 1, "answer": 2}, "x.jsonl")


def test_an_unknown_format_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="unknown data format 'pair'; did you mean 'pairs'"):
        require_format("pair")


@pytest.mark.parametrize("label", [None, -1])
def test_an_unlabelled_text_has_no_score(label: int | None) -> None:
    """-1 is how the hub marks the reviews of IMDB that nobody labelled."""
    assert FORMATS["texts"].parse({"text": "a", "label": label}).scores is None
    assert FORMATS["texts"].parse({"text": "a"}).scores is None


def test_line_breaks_of_web_pages_are_line_breaks() -> None:
    text = "One. <br /><br>Two <BR/>\nthree <br four"
    assert FORMATS["texts"].parse({"text": text}).responses == ("One.\nTwo\nthree <br four",)
