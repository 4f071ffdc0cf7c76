"""Texts that already hold a chat template: noticed, and turned back into messages when asked.

A run writes its own template around every prompt. One that is there already would be wrapped a
second time, and its special tokens learnt as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tasks.data.groups import Group, Message, prompt_hash
from tasks.settings.errors import RecordError
from tasks.settings.printable import excerpt

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "instruction": "user",
    "inst": "user",
    "input": "input",
    "assistant": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "response": "assistant",
    "/inst": "assistant",
}


class _Family(NamedTuple):
    """One way of writing turns."""

    name: str
    """What it is called."""
    hints: tuple[str, ...]
    """A text without all of them cannot be of this family; looked for first, as it is fast."""
    turn: re.Pattern[str]
    """Opens a turn; its group is the role."""
    end: re.Pattern[str]
    """Ends a turn."""


def _family(name: str, hint: str, turn: str, end: str = r"(?!)") -> _Family:
    return _Family(name, tuple(hint.split(" & ")), re.compile(turn), re.compile(end))


_FAMILIES = (
    _family(
        "ChatML", "<|im_", r"<\|im_start\|>(system|developer|user|assistant)\n?", r"<\|im_end\|>"
    ),
    _family(
        "Llama 3",
        "_header_id|>",
        r"<\|start_header_id\|>(system|user|assistant)<\|end_header_id\|>",
        r"<\|(?:eot_id|eom_id|end_of_text)\|>",
    ),
    _family(
        "Harmony",
        "<|message|>",
        r"<\|start\|>(system|developer|user|assistant)(?:<\|channel\|>\w+)?<\|message\|>",
        r"<\|(?:end|return)\|>",
    ),
    _family(
        "Command R",
        "_TOKEN|>",
        r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>",
        r"<\|END_OF_TURN_TOKEN\|>",
    ),
    _family(
        "Zephyr or Phi",
        "|>",
        r"<\|(system|user|assistant)\|>\n?",
        r"<\|(?:end|endoftext)\|>|</s>",
    ),
    _family("DeepSeek", "｜>", r"<｜(User|Assistant)｜>", r"<｜end▁of▁sentence｜>"),
    _family("Gemma", "_of_turn>", r"<start_of_turn>(system|user|model)\n?", r"<end_of_turn>"),
    _family("Llama 2 or Mistral", "INST]", r"\[(/?INST)\]", r"</s>"),
    _family("Alpaca", "### ", r"(?:\A|\n)### (Instruction|Input|Response|Human|Assistant):"),
    _family("HH-RLHF", "\n\nHuman: & \n\nAssistant:", r"(?:\A\n*|\n\n)(Human|Assistant):"),
)
_START = re.compile(r"\s*(?:<\|begin_of_text\|>|<｜begin▁of▁sentence｜>|<bos>|<s>|<BOS_TOKEN>)")
_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_ENDINGS = (
    *(f"<|{name}|>" for name in ("im_end", "eot_id", "eom_id", "end", "endoftext", "end_of_text")),
    *("<|return|>", "<|END_OF_TURN_TOKEN|>", "<end_of_turn>", "<｜end▁of▁sentence｜>"),
    *("</s>", "<eos>"),
)
_HINTS = (">", "INST]", "###", "\n\nHuman:")
"""A text without any of these holds no chat template."""
_ALPACA_OPENING = re.compile(
    r"\s*Below is an instruction that describes a task(?:, paired with an input that provides "
    r"further context)?\. Write a response that appropriately completes the request\.\s*"
)


def refuse_markup(group: Group) -> None:
    """Refuse a group whose prompt or responses hold a chat template.

    Raises:
        RecordError: One does; the text and the template are named, and what can be done.
    """
    texts = [message.content for message in group.prompt]
    turns = len(texts)
    texts += group.responses
    # Nearly every text is plain, and these tests are far cheaper than the patterns.
    joined = "\0".join(texts)
    angle, bracket, heading, turn = _HINTS
    if not (angle in joined or bracket in joined or heading in joined or turn in joined):
        return
    for place, text in enumerate(texts):
        if found := _template_in(text):
            raise RecordError(
                f"{'the prompt' if place < turns else 'a response'} already holds a chat template "
                f"({found}): {excerpt(text)}; set `chat_markup: unwrap` to read its turns, or "
                "`keep` where it is meant as text"
            )


def unwrapped(row: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return a row in which texts that hold a chat template are messages, and endings are gone.

    Example:
        >>> unwrapped({"prompt": "<|user|>\nhi</s>\n<|assistant|>\n", "chosen": "hello</s>"})
        {'prompt': [{'role': 'user', 'content': 'hi'}], 'chosen': 'hello'}
    """
    return {name: _unwrapped(value) for name, value in row.items()}


def without_cue(group: Group, cue: str) -> Group:
    """Return a group whose prompt does not end with a cue, and no response of it begins so.

    Example:
        >>> asked = (Message("user", "POST: it rains TL;DR:"),)
        >>> group = without_cue(Group(asked, ("TL;DR: rain", "Wet.")), "TL;DR:")
        >>> group.prompt[0].content, group.responses
        ('POST: it rains', ('rain', 'Wet.'))
    """
    prompt = group.prompt
    if prompt and (text := prompt[-1].content.rstrip()).endswith(cue):
        prompt = (*prompt[:-1], Message(prompt[-1].role, text.removesuffix(cue).rstrip()))
    # An id that is not the prompt's hash is the user's own, and stays.
    own = group.id if group.id != prompt_hash(group.prompt) else ""
    responses = tuple([text.strip().removeprefix(cue).strip() for text in group.responses])
    return replace(group, prompt=prompt, responses=responses, id=own)


def _template_in(text: str) -> str:
    """Return the name of the chat template that a text holds, or an empty text."""
    if family := _family_of(text):
        return family.name
    ended = text.rstrip()
    return next((f"it ends with {ending}" for ending in _ENDINGS if ended.endswith(ending)), "")


def _family_of(text: str) -> _Family | None:
    for family in _FAMILIES:
        if all(hint in text for hint in family.hints) and family.turn.search(text):
            return family
    return None


def _unwrapped(value: Any) -> Any:
    if isinstance(value, str):
        return _turns(value) or _without_ending(value)
    if isinstance(value, dict):
        return {name: _unwrapped(entry) for name, entry in value.items()}
    if not isinstance(value, list):
        return value
    entries: list[Any] = []
    for entry in map(_unwrapped, value):
        content = entry.get("content", entry.get("value")) if isinstance(entry, dict) else None
        # A whole conversation inside one message takes this message's place.
        entries += content if isinstance(content, list) else [entry]
    return entries


def _turns(text: str) -> list[dict[str, str]]:
    """Return the turns of a text that holds a chat template; none for a plain text."""
    family = _family_of(text)
    if family is None:
        return []
    before, *pieces = family.turn.split(_START.sub("", text, count=1))
    if family.end.search(before):
        return []  # an answer that runs on into further turns is no conversation
    turns = [("system", _ALPACA_OPENING.sub("", before))]
    for name, piece in zip(pieces[::2], pieces[1::2], strict=True):
        content = family.end.split(piece, maxsplit=1)[0]
        if name == "INST" and (system := _SYSTEM.match(content)):
            turns.append(("system", system[1]))
            content = content[system.end() :]
        turns.append((_ROLES[name.lower()], content))
    return _messages(turns)


def _messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Return turns as messages: empty ones are none, and an input belongs to its instruction."""
    messages: list[dict[str, str]] = []
    for role, text in turns:
        content = text.strip()
        if role == "input" and messages and content:
            messages[-1]["content"] += f"\n\n{content}"
        elif content:
            messages.append({"role": "user" if role == "input" else role, "content": content})
    return messages


def _without_ending(text: str) -> str:
    ended = text.rstrip()
    ending = next((one for one in _ENDINGS if ended.endswith(one)), "")
    return ended.removesuffix(ending).rstrip() if ending else text
