"""A judge is asked in the papers' words, and read only where it keeps the form."""

from __future__ import annotations

import pytest

from tasks.data.groups import Message
from tasks.evaluation.judging.judge_questions import QUESTIONS, get_question
from tasks.settings.errors import ConfigError

PROMPT = (Message("user", "What is {tea}?"),)


@pytest.mark.parametrize("name", QUESTIONS)
def test_it_shows_both_answers_in_their_order_and_each_within_its_fence(name: str) -> None:
    (asked,) = QUESTIONS[name].ask(PROMPT, "first {a}", "second", "text-1", reference="gold")
    assert asked.role == "user"
    text = asked.content
    places = [text.index(part) for part in ("What is {tea}?", "first {a}", "second")]
    assert places == sorted(places)
    shown = 4 if QUESTIONS[name].wants_reference else 3
    assert text.count("\n</text-1>") == shown
    assert ("gold" in text) == QUESTIONS[name].wants_reference


@pytest.mark.parametrize(
    ("name", "answer", "verdict"),
    [
        ("dialogue", "Comparison: both.\nMore helpful: A", "A"),
        ("dialogue", 'Comparison: both.\nMore helpful: "B"  \n\n', "B"),
        ("dialogue", "More helpful: A or B", None),
        ("dialogue", "more helpful: A", None),
        ("dialogue", "More helpful: A\nI hope this helps!", None),
        ("dialogue", "Preferred: A", None),
        ("dialogue", "A", None),
        ("dialogue", "", None),
        ("dialogue", "  \n ", None),
        ("summary", "Comparison: A is shorter.\nPreferred: B", "B"),
        ("summary", "Preferred: C", None),
        ("instruction", "Both are right.\n[[C]]", "tie"),
        ("instruction", "Assistant A wins. [[A]]", None),
        ("instruction", "[[A]]\n[[B]]", "B"),
        ("helpful_harmless", "Comparison: equal.\nBetter: tie", "tie"),
        ("helpful_harmless", "Better: neither", None),
        ("helpful_harmless", "Better: A.", None),
    ],
)
def test_only_the_last_line_in_the_asked_form_is_a_verdict(
    name: str, answer: str, verdict: str | None
) -> None:
    assert QUESTIONS[name].read(answer) == verdict


def test_a_reference_that_is_shown_is_asked_for() -> None:
    with pytest.raises(ValueError, match="instruction shows a reference answer"):
        QUESTIONS["instruction"].ask(PROMPT, "a", "b", "text-1")


def test_an_unknown_question_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown question 'dialog'.*dialogue"):
        get_question("dialog")
