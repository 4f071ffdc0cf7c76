"""Preferences between two answers, the better of which another column tells."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tasks.data.groups import Group
from tasks.data.sources.dialogue import read_dialogue, read_prompt, read_response, require_text
from tasks.data.sources.forms.form import Form, Row, number_of, objects_of, scored
from tasks.settings.errors import RecordError

_FIRST = re.compile(r"(?:(?:response|answer|model|assistant)_)?a|first", re.IGNORECASE)
_SECOND = re.compile(r"(?:(?:response|answer|model|assistant)_)?b|second", re.IGNORECASE)
_TIE = re.compile(r"tie.*|both.*|equal|same|neither", re.IGNORECASE)


def parse_webgpt(row: Row) -> Group:
    """Read OpenAI's WebGPT comparisons: a question, two answers, two scores (equal: a tie)."""
    question = row["question"]
    if isinstance(question, dict):
        question = question.get("full_text")
    replies = [read_response(row[name], name) for name in ("answer_0", "answer_1")]
    scores = [row["score_0"], row["score_1"]]
    return scored(read_prompt(question, "question"), replies, scores, row)


def parse_arena(row: Row) -> Group:
    """Read two whole conversations with the same user, and which of them won."""
    names = ("conversation_a", "conversation_b")
    (prompt, first), (other, second) = (read_dialogue(row[name], name) for name in names)
    if not prompt or prompt != other:
        raise RecordError("the two conversations differ before the last reply")
    return scored(prompt, [first, second], _letter(row["winner"], "winner"), row)


def parse_summaries(row: Row) -> Group:
    """Read two summaries of a post, of which `choice` counts from 0, as OpenAI published them.

    The prompt is the post as OpenAI's own models were asked.
    """
    info = row["info"]
    texts = [
        read_response(entry.get("text"), "summaries") for entry in objects_of(row, "summaries")
    ]
    if info.get("post") is None:
        asked = f"Article:\n\n{require_text(info.get('article'), 'info.article')}\n\nTL;DR:"
    else:
        named = [require_text(info.get(key), f"info.{key}") for key in _POST]
        asked = "SUBREDDIT: r/{}\n\nTITLE: {}\n\nPOST: {}\n\nTL;DR:".format(*named)
    if len(texts) != 2:
        raise RecordError(f"'summaries' should hold two, holds {len(texts)}")
    return scored(
        read_prompt(asked), texts, _place(row["choice"], "choice", 0), row, info.get("id")
    )


_POST = ("subreddit", "title", "post")


def _compared(
    prompt: str, first: str, second: str, told: str, verdict: Callable[[Any, str], list[float]]
) -> Callable[[Row], Group]:
    """Return a parser of a prompt, two answers, and a column that `verdict` turns into scores."""

    def parse(row: Row) -> Group:
        replies = [read_response(row[name], name) for name in (first, second)]
        return scored(read_prompt(row[prompt], prompt), replies, verdict(row[told], told), row)

    return parse


def _letter(value: Any, name: str) -> list[float]:
    """Return scores for "a", "model_b", "tie" and their like; a number could mean either answer."""
    if isinstance(value, str):
        for pattern, scores in ((_FIRST, [1.0, 0.0]), (_SECOND, [0.0, 1.0]), (_TIE, [0.0, 0.0])):
            if pattern.fullmatch(value.strip()):
                return scores
    raise RecordError(f"{name!r} should be a, b or tie, is {value!r:.40}")


def _place(value: Any, name: str, start: int) -> list[float]:
    """Return scores for the number of the better answer, counted from `start`."""
    number = number_of(value, repr(name)) - start
    if number not in (0, 1):
        raise RecordError(f"{name!r} should be {start} or {start + 1}, is {value!r:.40}")
    return [1.0 - number, number]


def _sign(value: Any, name: str) -> list[float]:
    """Return scores for a strength: below zero the first is better, above it the second."""
    strength = number_of(value, repr(name))
    return [float(strength < 0), float(strength > 0)]


def _first_is_one(value: Any, name: str) -> list[float]:
    """Return scores for 1 where the first answer is better and 0 where the second is."""
    return _place(value, name, 0)[::-1]


def _from_zero(value: Any, name: str) -> list[float]:
    return _place(value, name, 0)


def _from_one(value: Any, name: str) -> list[float]:
    return _place(value, name, 1)


def _form(needs: tuple[str, str, str, str], verdict: Callable[[Any, str], list[float]]) -> Form:
    prompt, first, second, told = (need.partition("|")[0] for need in needs)
    return Form(_compared(prompt, first, second, told, verdict), needs)


_ASKED = "prompt|question|instruction|query"
COMPARED_FORMS = {
    "webgpt": Form(parse_webgpt, ("question", "answer_0", "answer_1", "score_0", "score_1")),
    "better_id": _form((_ASKED, "response_0", "response_1", "better_response_id"), _from_zero),
    "strength": _form((_ASKED, "response_1", "response_2", "preference_strength"), _sign),
    "helpsteer3": _form(("context", "response1", "response2", "overall_preference"), _sign),
    "shp": _form(("history", "human_ref_A", "human_ref_B", "labels"), _first_is_one),
    "one_or_two": _form((_ASKED, "response_1", "response_2", "preference"), _from_one),
    "a_or_b": _form((_ASKED, "response_a", "response_b", "preference|winner"), _letter),
    "arena": Form(parse_arena, ("conversation_a", "conversation_b", "winner")),
    "summaries": Form(
        parse_summaries,
        ("info", "summaries", "choice"),
        fits=lambda types: types["info"] is dict,
    ),
}
"""Forms of two answers and a verdict."""
