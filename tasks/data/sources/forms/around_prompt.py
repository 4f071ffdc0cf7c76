"""Columns beside a prompt that belong to it: a system text, turns before it, an input to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks.data.groups import Group, Message, Prompt
from tasks.data.sources.dialogue import read_messages, require_text
from tasks.data.sources.forms.form import Row
from tasks.settings.errors import RecordError


def in_context(group: Group, row: Row, columns: tuple[str, ...]) -> Group:
    """Return the group with the columns around its prompt: system, history, prompt, input.

    Args:
        group: What the row's form read.
        row: The row.
        columns: Which of `CONTEXT` are read from it.

    Raises:
        RecordError: A column is of the wrong type, or says something else than the prompt does.
    """
    prompt = group.prompt
    if "input" in columns and (given := require_text(row["input"], "input").strip()):
        if not prompt or prompt[-1].role != "user":
            raise RecordError("'input' has no turn of the user's to follow")
        prompt = (*prompt[:-1], Message("user", f"{prompt[-1].content}\n\n{given}"))
    if "history" in columns and row["history"]:
        start = prompt[:1] if prompt[:1] and prompt[0].role == "system" else ()
        prompt = (*start, *_turns(row["history"]), *prompt[len(start) :])
    if "system" in columns and (text := require_text(row["system"], "system").strip()):
        if prompt and prompt[0].role == "system":
            if prompt[0].content.strip() != text:
                raise RecordError("'system' is not what the prompt's own system turn says")
        else:
            prompt = (Message("system", text), *prompt)
    return group if prompt is group.prompt else replace(group, prompt=prompt, id="")


def _turns(value: Any) -> Prompt:
    """Read messages, or pairs of what the user said and what was answered."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        if any(len(pair) != 2 for pair in value if isinstance(pair, list)):
            raise RecordError("'history' should hold pairs of a question and its answer")
        said = [require_text(text, "history") for pair in value for text in pair]
        return tuple(Message(("user", "assistant")[k % 2], text) for k, text in enumerate(said))
    return read_messages(value, "history")
