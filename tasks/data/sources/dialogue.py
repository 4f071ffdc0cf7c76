"""Texts and message lists of many makers, turned into prompts and responses."""

from __future__ import annotations

import re
from typing import Any

from tasks.data.groups import Message, Prompt
from tasks.settings.errors import RecordError
from tasks.settings.printable import excerpt, printable

ASSISTANT = "\n\nAssistant:"
_WRITTEN_MESSAGES = re.compile(r"""\[\s*\{\s*["'](?:role|content|from|value)["']\s*:""")
_TURN = re.compile(r"(?:\A\n*|\n\n)(Human|Assistant):")
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython")
# What a turn may hold beside its text and what no reader takes: left out, it would be another turn.
_BESIDE_TEXT = {
    "tool_calls": "tool calls",
    "function_call": "tool calls",
    "images": "images",
    "audio": "audio",
    "reasoning_content": "a chain of thought",
    "thinking": "a chain of thought",
}


def require_text(value: Any, name: str) -> str:
    """Return the value of the column `name` if it is a text that can be stored.

    Raises:
        RecordError: It is not a text, or holds half a surrogate pair.
    """
    if not isinstance(value, str):
        raise RecordError(f"{name!r} should be a text, is {told(value)}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RecordError(f"{name!r} holds half a surrogate pair, not text") from error
    if value[:1] == "[" and _WRITTEN_MESSAGES.match(value):
        raise RecordError(f"{name!r} holds messages written as a text; store them as JSON")
    return value


def told(value: Any) -> str:
    """Return what a value of JSON is, in the words of a sentence.

    Example:
        >>> told(17), told([]), told({"a": 1}), told(None)
        ('the number 17', 'an empty list', 'an object with a', 'null')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value!r:.40}"
    if isinstance(value, str):
        return f"the text {excerpt(value)}"
    if isinstance(value, dict) and value:
        return f"an object with {', '.join(f'{printable(name):.40}' for name in list(value)[:5])}"
    kind = "object" if isinstance(value, dict) else "list"
    return f"{'a' if value else 'an empty'} {kind}"


def read_prompt(value: Any, name: str = "prompt") -> Prompt:
    """Turn a text, a "Human: … Assistant:" dialogue or a list of messages into a prompt.

    Returns:
        The turns up to the response; a trailing empty assistant turn is left out.

    Raises:
        RecordError: It is none of these.
    """
    if isinstance(value, list | dict):
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
    """Turn a list of {role, content} (or {from, value}), or one such message, into messages.

    Raises:
        RecordError: It is not such a list, a role is unknown, or a turn holds more than text.
    """
    if isinstance(value, dict):
        return (_message(value, name),)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{name!r} should be a list of messages, is {told(value)}")
    return tuple([_message(entry, name) for entry in value])


def _message(entry: Any, name: str) -> Message:
    if not isinstance(entry, dict):
        raise RecordError(f"{name!r} should hold messages, holds {told(entry)}")
    # Arrow writes both keys where one file mixes them, one of them null.
    role = entry.get("role")
    role = entry.get("from") if role is None else role
    content = entry.get("content")
    content = entry.get("value") if content is None else content
    if len(entry) > 2:
        for key, what in _BESIDE_TEXT.items():
            if entry.get(key):
                raise RecordError(f"{name!r} holds {what} ({key!r}), which are not read")
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        if role in _TOOL_ROLES:
            raise RecordError(f"{name!r} holds tool calls (role {role!r}), which are not read")
        if role is None:
            raise RecordError(f"a message in {name!r} has no `role`, it is {told(entry)}")
        raise RecordError(f"unknown role {role!r:.40} in {name!r}; known: {', '.join(_ROLES)}")
    if isinstance(content, list):
        content = "".join([_text_part(part, name) for part in content])
    return Message(known, require_text(content, name))


def _text_part(part: Any, name: str) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text":
        return require_text(part.get("text"), name)
    if isinstance(part, str):
        return require_text(part, name)
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise RecordError(f"{name!r} holds a part of type {kind!r:.40}; only parts of text are read")


def read_dialogue(value: Any, name: str) -> tuple[Prompt, str]:
    """Turn an answer, or a whole dialogue that ends in it, into the turns before it and its text.

    Returns:
        The turns before the answer, none where it stands alone, and the stripped answer.

    Raises:
        RecordError: It is neither a text nor messages, or the last turn is not the assistant's.
    """
    if isinstance(value, str):
        text = require_text(value, name)
        if not is_transcript(text):
            return (), text.strip()
        before, _, reply = text.rpartition(ASSISTANT)
        if not before or "\n\nHuman:" in reply:
            raise RecordError(f"the dialogue in {name!r} should end with the assistant's turn")
        return split_transcript(before), reply.strip()
    if not isinstance(value, list | dict):
        raise RecordError(f"{name!r} should be a text or messages, is {told(value)}")
    messages = read_messages(value, name)
    if messages[-1].role != "assistant":
        raise RecordError(f"the last message in {name!r} should be the assistant's")
    return messages[:-1], messages[-1].content.strip()


def read_response(value: Any, name: str) -> str:
    """Turn a text, or messages that end with one assistant turn, into a stripped response.

    Raises:
        RecordError: It is neither, or holds more than the assistant's one turn.
    """
    if not isinstance(value, list | dict):
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
