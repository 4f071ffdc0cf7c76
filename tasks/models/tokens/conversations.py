"""Conversations as token ids: the same ids as plain transformers makes with the saved template.

One rule holds for every named template: the ids of a prompt are those of `apply_chat_template`
with `add_generation_prompt`, and the ids of a prompt with a response those without it. A template
whose text a tokenizer merges with a response's is not offered for that tokenizer. What a user wrote
never acts as a special token, whatever it spells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tasks.data.groups import Message
from tasks.models.tokens.templates import (
    TEMPLATES,
    find_template,
    name_of,
    render,
    source_of,
)
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

# A private sign that stands where a template writes EOS.
_END = "\U000f0001"
_STARTS = ("It is.", "it", "7", "'s", "...", "?", "-", "é", "漢", "🎉", "\n\nSo", "  so", "\t1")
# Under `plain`, whose boundary is the user's own text.
_PLAIN_STARTS = ("It is.", " It is.", "7")
_PROBE = (Message("user", "What is it?"),)
_MOST_PROBES = 500
_SIGNS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})


@dataclass
class _Known:
    """What is asked of a tokenizer for every conversation."""

    state: tuple[int, int | None]
    """Vocabulary size and BOS: with others it has to be asked again."""
    has_bos: bool
    """Whether the tokenizer itself puts BOS before a text: Llama does, GPT-2 and Qwen2 do not."""
    specials: re.Pattern[str]
    """Finds what spells a special token."""
    special_ids: frozenset[int]
    """Their ids, but for that of the unknown."""
    offered: set[str] = field(default_factory=set)
    """Templates that were seen to fit."""
    announced: dict[str, int] = field(default_factory=dict)
    """How many ids each template writes before a response to nothing."""


_known: WeakKeyDictionary[PreTrainedTokenizerBase, _Known] = WeakKeyDictionary()


def resolve_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> str | None:
    """Which named template writes the conversation; None for a tokenizer's own foreign one.

    Raises:
        ConfigError: Unknown name, None for a tokenizer without a chat template, or a template that
            is not offered for this tokenizer.
    """
    if template is None:
        if not tokenizer.chat_template:
            raise ConfigError(
                f"the tokenizer {tokenizer.name_or_path!r} has no chat template: "
                f"name one of {', '.join(TEMPLATES)} in the config"
            )
        template = name_of(tokenizer.chat_template)
    else:
        find_template(template)
    if template is not None and template not in (known := _about(tokenizer)).offered:
        _check_offered(tokenizer, template)
        known.offered.add(template)
    return template


def saved_source(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """Return the Jinja source that makes plain transformers write a named template's ids."""
    return source_of(name, bos=_about(tokenizer).has_bos)


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, name: str | None, prompt: Sequence[Message]
) -> list[int]:
    """Token ids of a prompt, the assistant's turn announced; may be none.

    Args:
        tokenizer: The model's own.
        name: Of the template, resolved; None is the tokenizer's own foreign one.
        prompt: The turns so far.

    Raises:
        ConfigError: The tokenizer's own template cannot write these turns.
    """
    if name is None:
        return _own(tokenizer, prompt, tokenize=True)
    return _ids(tokenizer, name, prompt, announce=True)


def response_ids(
    tokenizer: PreTrainedTokenizerBase,
    name: str | None,
    prompt: Sequence[Message],
    before: list[int],
    response: str,
) -> tuple[list[int], bool]:
    """Token ids of a response as they follow its prompt's, EOS included.

    Args:
        tokenizer: The model's own.
        name: Of the template, resolved; None is the tokenizer's own foreign one.
        prompt: What it answers.
        before: The prompt's ids, all of them.
        response: Its text.

    Returns:
        The ids, and whether the response begins inside a token that plain transformers would make
        of prompt and response together (under `plain` only; it is then tokenised apart, as a policy
        that is given the prompt would have to draw it).
    """
    if name is None:
        return [*_text_ids(tokenizer, response), int(tokenizer.eos_token_id)], False
    turn = Message("assistant", response)
    if find_template(name).boundary is None:
        whole = _ids(tokenizer, name, [*prompt, turn], announce=False)
        if whole[: len(before)] == before:
            return whole[len(before) :], False
    # A response reads the same after any prompt, so after none, which is cheaper.
    announced = _about(tokenizer).announced
    if name not in announced:
        announced[name] = len(_ids(tokenizer, name, [], announce=True))
    ids = _ids(tokenizer, name, [turn], announce=False)[announced[name] :]
    return ids, find_template(name).boundary is None


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, template: str | None, prompt: Sequence[Message]
) -> str:
    """Write a conversation as the text that a response continues, special tokens included.

    Args:
        tokenizer: Names the special tokens, and has the template where none is named.
        template: Name of a chat template; None is the one the tokenizer has.
        prompt: The turns so far, oldest first.

    Raises:
        ConfigError: As `resolve_template`, or the tokenizer's own template cannot write these
            turns.
    """
    name = resolve_template(tokenizer, template)
    if name is None:
        return _own(tokenizer, prompt, tokenize=False)
    special = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    return render(saved_source(tokenizer, name), prompt, announce=True, **special)


def _about(tokenizer: PreTrainedTokenizerBase) -> _Known:
    bos = tokenizer.bos_token_id
    state = (len(tokenizer), bos)
    known = _known.get(tokenizer)
    if known is None or known.state != state:
        added = tokenizer.added_tokens_decoder.items()
        special = {number: token.content for number, token in added if token.special}
        spelled = "|".join(map(re.escape, special.values()))
        known = _known[tokenizer] = _Known(
            state,
            has_bos=bos is not None and tokenizer("")["input_ids"][:1] == [bos],
            specials=re.compile(spelled or "(?!)"),
            special_ids=frozenset(special) - {tokenizer.unk_token_id},
        )
    return known


def _ids(
    tokenizer: PreTrainedTokenizerBase, name: str, turns: Sequence[Message], *, announce: bool
) -> list[int]:
    known = _about(tokenizer)
    turns = [Message(turn.role, turn.content.replace(_END, "")) for turn in turns]
    source = source_of(name, bos=known.has_bos)
    text = render(source, turns, announce=announce, bos_token="", eos_token=_END)
    start = tokenizer.bos_token if known.has_bos else ""
    if not known.specials.search(text):
        return _encode(tokenizer, start + text.replace(_END, tokenizer.eos_token), parse=True)
    ids = [tokenizer.bos_token_id] if known.has_bos else []
    first, *others = text.split(_END)
    ids += _text_ids(tokenizer, first)
    for part in others:
        ids += [tokenizer.eos_token_id, *_text_ids(tokenizer, part)]
    return ids


def _text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text in which nothing is a special token."""
    known = _about(tokenizer)
    ids = _encode(tokenizer, text, parse=False)
    if known.special_ids.isdisjoint(ids):
        return ids
    # Unigram models have special tokens among their pieces: in two parts they cannot be found.
    cuts = [0, *(found.start() + 1 for found in known.specials.finditer(text)), len(text)]
    parts = [text[start:end] for start, end in pairwise(cuts)]
    return [token for part in parts for token in _encode(tokenizer, part, parse=False)]


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, parse: bool) -> list[int]:
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=not parse, verbose=False
    )
    return list(encoded["input_ids"])


def _own(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], *, tokenize: bool) -> Any:
    try:
        return tokenizer.apply_chat_template(
            [turn._asdict() for turn in prompt],
            add_generation_prompt=True,
            tokenize=tokenize,
            sanitize_control_tokens=tokenize,
            return_dict=False,
        )
    except Exception as error:  # a template is a program: it may raise anything
        raise ConfigError(
            f"the chat template of {tokenizer.name_or_path!r} cannot write the roles "
            f"{[turn.role for turn in prompt]}: {error}; name a template in the config"
        ) from error


def _check_offered(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    before = _ids(tokenizer, name, _PROBE, announce=True)
    for start in _starts(tokenizer, name):
        turn = Message("assistant", start)
        whole = _ids(tokenizer, name, [*_PROBE, turn], announce=False)
        after, merged = response_ids(tokenizer, name, _PROBE, before, start)
        if merged or whole != before + after or whole[-1] != tokenizer.eos_token_id:
            raise ConfigError(
                f"the chat template {name!r} is not offered for the tokenizer "
                f"{tokenizer.name_or_path!r}: it reads the end of a prompt and the beginning of a "
                f"response such as {start!r} as one token, so plain transformers would see other "
                "tokens than are trained on; name another template, or take another tokenizer"
            )


def _starts(tokenizer: PreTrainedTokenizerBase, name: str) -> Iterator[str]:
    """Yield beginnings of responses: usual ones, and what the vocabulary could merge with."""
    boundary = find_template(name).boundary
    if boundary is None:
        yield from _PLAIN_STARTS
        return
    yield from _STARTS
    crossing = re.compile(re.escape(boundary) + r"(\S.*)")
    hits = (crossing.search(token.translate(_SIGNS)) for token in tokenizer.get_vocab())
    yield from sorted({hit[1] for hit in hits if hit})[:_MOST_PROBES]
