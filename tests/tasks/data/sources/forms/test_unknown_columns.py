"""What is said of a record in no form: what it lacks, which `fields` would read it, the nearest."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Group
from tasks.data.sources.forms.recognition import Recogniser, UnknownFormError

DIALOGUE = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def read(row: dict[str, Any], **fields: str) -> Group:
    return Recogniser("auto", fields).read(row)[1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "a", "answer": "b"}, "`fields: {prompt: question, completion: answer}` of"),
        ({"left": 1}, "columns left; rename.*the commonest form is 'pairs'"),
        ({"prompt": "a", "rejected": "b", "chosen": None}, "'chosen' is null, which the form 'pai"),
        ({"prompt": "a", "chosen": "b"}, "^'rejected' is missing, which the form 'pairs' needs; t"),
        ({"prompt": "a", "response": "b", "reward": 1}, "`fields: {score: reward}`.*'rated'"),
        ({"prompt": "a", "answer": "b"}, "`fields: {completion: answer}`.*the form 'completion'"),
        ({"prompt": "a", "response_a": "b"}, "response_a says more than.*with `format: prompts`"),
        ({"prompt": "a", "good": 1, "bad": 2}, "bad, good says more than the form 'prompts'"),
        ({"text": "a", "good": 1, "bad": 2}, "bad, good says more than the form 'texts'"),
        ({"messages": DIALOGUE, "rejected": "b"}, "'chosen' is missing, which the form"),
        ({"prompt": "a", "completions": "b"}, "nearest forms: .*kwise, which needs scores"),
        ({"\x1b[31mred\n": 1}, r"columns \\x1b\[31mred\\n; rename"),
        ({"prompt": None}, "'prompt' is null, which the form 'prompts' needs; the record has none"),
        ({f"c{i}": i for i in range(99)}, "and 69 more; "),
    ],
)
def test_no_row_is_read_as_a_poorer_form(row: dict, words: str) -> None:
    with pytest.raises(UnknownFormError, match=words) as caught:
        read(row)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        *[("good", "bad"), ("pos", "neg"), ("positive", "negative"), ("winner", "loser")],
        *[("win", "lose"), ("accepted", "rejected"), ("preferred", "dispreferred")],
        *[("better", "worse"), ("best", "worst"), ("y_w", "y_l"), ("answer_good", "answer_bad")],
        *[("Preferred Output", "Non-preferred Output"), ("Chosen", "Rejected")],
    ],
)
@pytest.mark.parametrize("asked", ["prompt", "question", "text", "Prompt", "messages"])
def test_words_for_a_better_and_a_worse_answer_are_refused_with_the_fields_that_read_them(
    asked: str, better: str, worse: str
) -> None:
    row = {asked: DIALOGUE[:1] if asked == "messages" else "2 + 2?", better: "4", worse: "5"}
    with pytest.raises(UnknownFormError, match="cannot tell the format") as caught:
        read(row)
    told = str(caught.value).partition("`fields: {")[2].partition("}`")[0]
    fields = dict(entry.split(": ") for entry in told.split(", "))
    assert fields["chosen"] == better and fields.get("rejected", "rejected") == worse
    group = read(row, **fields)
    assert group.responses == ("4", "5") and group.prompt[0].content == "2 + 2?"


@pytest.mark.parametrize(
    "columns",
    [{"response": "4", "Score": 3}, {"Chosen": "a"}, {"prompt": "b", "preferred_output": "4"}],
)
def test_a_verdict_in_other_words_is_no_demonstration(columns: dict) -> None:
    with pytest.raises(UnknownFormError, match="says more than the form|`fields: {score: Score}`"):
        read({"prompt": "2 + 2?"} | columns)
