"""Texts and message lists of many makers, turned into prompts and responses."""

from __future__ import annotations

import re
from typing import Any

from tasks.data.groups import Message, Prompt
from tasks.settings.errors import RecordError

ASSISTANT = "\n\nAssistant:"
_TURN = re.compile(r"(?:\A\n*|\n\n)(Human|Assistant):")
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


def require_text(value: Any, name: str) -> str:
    """Return the value of the column `name` if it is a text that can be stored.

    Raises:
        RecordError: It is not a text, or holds half a surrogate pair.
    """
    if not isinstance(value, str):
        raise RecordError(f"{name!r} should be a text, is {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RecordError(f"{name!r} holds half a surrogate pair, not text") from error
    return value


def read_prompt(value: Any, name: str = "prompt") -> Prompt:
    """Turn a text, a "Human: … Assistant:" dialogue or a list of messages into a prompt.

    Returns:
        The turns up to the response; a trailing empty assistant turn is left out.

    Raises:
        RecordError: It is none of these.
    """
    if isinstance(value, list):
        return read_messages(value, name)
    text = require_text(value, name)
    if is_transcript(text):
        return split_transcript(text)
    return (Message("user", text.strip()),)


def is_transcript(text: str) -> bool:
    """Return whether a text is a dialogue in the form in which HH-RLHF is published."""
    return text.startswith("\n\nHuman:") or (text.startswith("Human:") and ASSISTANT in text)


def split_transcript(text: str) -> Prompt:
    """Split a "Human: … Assistant: …" dialogue into turns.

    Returns:
        The turns, stripped; a trailing empty assistant turn is left out.

    Raises:
        RecordError: The text does not begin with a turn.
    """
    before, *pieces = _TURN.split(text)
    if before.strip() or not pieces:
        raise RecordError("a dialogue should begin with 'Human:'")
    turns = [
        Message("user" if who == "Human" else "assistant", content.strip())
        for who, content in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    if turns[-1] == ("assistant", ""):
        turns.pop()
    return tuple(turns)


def read_messages(value: Any, name: str) -> Prompt:
    """Turn a list of {role, content} (or {from, value}) into messages.

    Raises:
        RecordError: It is not such a list, or a role is unknown.
    """
    if not isinstance(value, list) or not value:
        raise RecordError(f"{name!r} should be a list of messages")
    messages = []
    for entry in value:
        if not isinstance(entry, dict):
            raise RecordError(f"{name!r} should hold messages, holds {type(entry).__name__}")
        role = entry.get("role", entry.get("from"))
        content = entry.get("content", entry.get("value"))
        if not isinstance(role, str) or role not in _ROLES:
            raise RecordError(f"unknown role {role!r:.40} in {name!r}; known: {', '.join(_ROLES)}")
        messages.append(Message(_ROLES[role], require_text(content, name)))
    return tuple(messages)


def read_response(value: Any, name: str) -> str:
    """Turn a text, or messages that end with one assistant turn, into a stripped response.

    Raises:
        RecordError: It is neither, or holds more than the assistant's one turn.
    """
    if not isinstance(value, list):
        return require_text(value, name).strip()
    messages = read_messages(value, name)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise RecordError(f"{name!r} should hold one assistant message")
    return messages[0].content.strip()


def split_shared(chosen: str, rejected: str) -> tuple[Prompt, str, str]:
    """Return the prompt that two whole dialogues share, and their last replies, chosen first.

    Raises:
        RecordError: They share no prompt, or differ before the last reply.
    """
    shared = common_prefix_length(chosen, rejected)
    cut = chosen.rfind(ASSISTANT, 0, shared)
    if cut < 0:
        raise RecordError("the two dialogues share no prompt that ends with 'Assistant:'")
    begin = cut + len(ASSISTANT)
    replies = chosen[begin:].strip(), rejected[begin:].strip()
    if any("\n\nHuman:" in reply for reply in replies):
        raise RecordError("the two dialogues differ before the last reply")
    return split_transcript(chosen[:cut]), *replies


def common_prefix_length(first: str, second: str) -> int:
    """Return how many characters two texts share at their start, by bisection."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
