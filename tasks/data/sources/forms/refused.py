"""Published forms that are known and not read, each with the reason and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.data.sources.forms.form import Types

_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_ANSWER = "response|completion|output"


class Refusal(NamedTuple):
    """A form that is not read."""

    needs: tuple[str, ...]
    """The columns that it is recognised by, as those of a `Form`."""
    why: str
    """What it is, and what to do instead."""
    fits: Callable[[Types], bool] = lambda types: True
    """What else must hold of its columns and their types."""


REFUSED = {
    "stepwise": Refusal(
        ("prompt|question|instruction", "completions|steps", "labels|ratings"),
        "a label for each step of an answer; the nearest form is `kwise`, with one of `scores` for "
        "each whole answer in `completions`",
        lambda types: list in types.values(),
    ),
    "attributes": Refusal(
        ("prompt|instruction|query", _ANSWER, "|".join(_ATTRIBUTES)),
        "an answer rated by several attributes; choose one, `fields: {score: helpfulness}`, "
        "and the answers to one prompt are compared by it (form `rated`)",
        lambda types: "score" not in types,
    ),
    "safety": Refusal(
        ("prompt|instruction|query", _ANSWER, "is_safe"),
        "an answer that is safe or not; `fields: {label: is_safe}` reads safe ones as good and the "
        "others as bad (form `labelled`)",
        lambda types: "label" not in types,
    ),
    "message_tree": Refusal(
        ("message_id", "parent_id", "text"),
        "the messages of a tree, one per row; the nearest form is `kwise_ranks`: for each parent "
        "its path as `prompt`, and its children as `completions` with their `ranks`",
    ),
    "summary_axes": Refusal(
        ("info", "summary"),
        "a summary rated on several axes; the nearest form is `rated`, with one score",
    ),
    "arena_columns": Refusal(
        ("response_a", "response_b", "winner_model_a"),
        "a winner in three columns; the nearest form is `a_or_b`, with one column `winner` that is "
        "a, b or tie, and texts as answers",
    ),
    "token_ids": Refusal(
        ("input_ids|chosen_input_ids|prompt_input_ids",),
        "token ids of one tokenizer instead of text; name the data set that they were made from",
    ),
}
"""The forms that are refused by name."""
NOT_READ = {
    "images": "images",
    "image": "images",
    "videos": "videos",
    "video": "videos",
    "audios": "sounds",
    "audio": "sounds",
    "tools": "tool calls",
    "functions": "tool calls",
}
"""Columns that make a record more than a text where they are filled, and what they hold."""
