"""Groups as token ids: what plain transformers makes of prompt and response, within limits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from tasks.data.groups import finished
from tasks.models.tokens.conversations import (
    prompt_ids,
    resolve_template,
    response_ids,
    saved_source,
)
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from tasks.data.groups import Group, Message

_vocabularies: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, str]] = WeakKeyDictionary()


class Limits(FrozenConfig):
    """How long a prompt and a response may be."""

    max_prompt_tokens: int = Field(default=256, ge=1)
    """Tokens of the prompt; a longer one loses its beginning. Counted as truncated."""
    max_response_tokens: int = Field(default=256, ge=1)
    """Tokens of a response, its EOS included."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Tokens of both together, of a model that scores: the prompt loses its beginning until the
    response fits. Default: no limit but those two."""
    on_long_response: Literal["error", "truncate_without_eos"] = "error"
    """What happens to a longer response: stop, or keep its beginning without EOS (so that nothing
    teaches the model to end there). Counted either way, never silent."""

    @property
    def longest(self) -> int:
        """The most tokens of a prompt with one response."""
        both = self.max_prompt_tokens + self.max_response_tokens
        return min(both, self.max_tokens or both)

    @property
    def longest_response(self) -> int:
        """The most tokens of a response, which leaves one to its prompt."""
        return min(self.max_response_tokens, self.longest - 1)

    def prompt_room(self, longest: int) -> int:
        """Return the most tokens of a prompt whose longest response has so many."""
        return min(self.max_prompt_tokens, self.longest - longest)


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The token ids of one group."""

    prompt_ids: list[int]
    """At least one id: what the first response token is predicted from."""
    responses_ids: list[list[int]]
    """One list per response, each ending with EOS unless it was truncated or never ended."""
    truncated_prompt: bool
    """Whether the prompt lost its beginning."""
    truncated_responses: list[bool]
    """Which responses lost their end, and so their EOS."""
    merged_boundaries: int = 0
    """How many responses begin inside a token that plain transformers makes of prompt and response
    together; under `plain` only."""


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    prompt: Sequence[Message],
    max_tokens: int,
) -> tuple[list[int], bool]:
    """Token ids of a prompt, its beginning cut off beyond `max_tokens` (a BOS stays).

    Args:
        tokenizer: The model's own.
        template: Name of a chat template; None is the one the tokenizer has.
        prompt: The turns so far.
        max_tokens: The most ids returned.

    Returns:
        The ids, at least one, and whether the prompt was cut.
    """
    ids = prompt_ids(tokenizer, resolve_template(tokenizer, template), prompt)
    return _within(tokenizer, ids, max_tokens)


def encode_group(
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    group: Group,
    limits: Limits,
    *,
    as_sampled: bool = False,
) -> EncodedGroup:
    """Token ids of a group's prompt and responses.

    Put together they are what `apply_chat_template` makes of the conversation (see
    `conversations.py`), as long as the prompt is not cut.

    Args:
        tokenizer: The model's own.
        template: Name of a chat template; None is the one the tokenizer has.
        group: A prompt with K responses.
        limits: The longest prompt and response.
        as_sampled: Take samples of this tokenizer's model as the tokens they were drawn as.

    Returns:
        Ids of the prompt and of each response, EOS appended unless the response is a sample that
        was cut off (see `finished`).

    Raises:
        RecordError: If a response is too long, `limits.on_long_response` is `error`, and it is not
            a sample; a sample loses its end, counted. If the sampler's notes do not match the
            responses in number.
    """
    name = resolve_template(tokenizer, template)
    whole = prompt_ids(tokenizer, name, group.prompt)
    drawn = _as_sampled(tokenizer, name, group) if as_sampled else None
    responses, flags, merged = [], [], 0
    for place, (response, has_ended) in enumerate(
        zip(group.responses, finished(group), strict=True)
    ):
        ids = drawn[place] if drawn else None
        if ids is None:
            ids, inside = response_ids(tokenizer, name, group.prompt, whole, response)
            merged += inside
            # A sample that the length limit cut off was not ended by its model, and must not look
            # so.
            ids = ids if has_ended else ids[:-1] or ids
        long = len(ids) > limits.longest_response
        # Decoded and encoded again, a sample may be longer than what was drawn: nobody's mistake.
        if long and limits.on_long_response == "error" and "ended" not in group.extra:
            raise RecordError(
                f"a response of the group {group.title} has {len(ids)} tokens, the limit is "
                f"{limits.longest_response}: raise max_response_tokens, or set "
                "on_long_response: truncate_without_eos"
            )
        responses.append(ids[: limits.longest_response] if long else ids)
        flags.append(long)
    # One prompt for all of a group, so it makes room for the longest of them.
    room = limits.prompt_room(max(map(len, responses), default=0))
    before, cut = _within(tokenizer, whole, room)
    return EncodedGroup(before, responses, cut, flags, merged)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, template: str | None) -> str:
    """Return 16 hex digits that name what token ids mean: the vocabulary, EOS and the template."""
    name = resolve_template(tokenizer, template)
    known = _vocabularies.get(tokenizer)
    if known is None or known[0] != len(tokenizer):
        listed = json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=False)
        digest = hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()
        known = _vocabularies[tokenizer] = (len(tokenizer), digest)
    source = tokenizer.chat_template if name is None else saved_source(tokenizer, name)
    parts = f"{known[1]} {tokenizer.eos_token_id} {source}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _as_sampled(
    tokenizer: PreTrainedTokenizerBase, template: str | None, group: Group
) -> list[list[int] | None] | None:
    """The ids drawn per response; None where none were noted, or with another vocabulary."""
    ids = group.extra.get("ids")
    if ids is None or group.extra.get("vocabulary") != vocabulary_of(tokenizer, template):
        return None
    if len(ids) != len(group.responses):
        raise RecordError(f"{len(ids)} `ids` notes for {len(group.responses)} responses")
    return [list(drawn) if drawn else None for drawn in ids]


def _within(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], max_tokens: int
) -> tuple[list[int], bool]:
    """Cut a prompt's beginning off, but for its BOS, beyond `max_tokens`; at least one id stays."""
    start = ids[:1] if ids[:1] == [tokenizer.bos_token_id] else []
    ids = ids[len(start) :]
    if not ids and not start:
        # Something must predict the first response token.
        start = [tokenizer.eos_token_id]
    room = max_tokens - len(start)
    if room < 0 or max_tokens < 1:
        raise ConfigError(f"max_prompt_tokens is {max_tokens}, which leaves no room for a prompt")
    kept = ids[len(ids) - room :] if len(ids) > room else ids
    return start + kept, len(ids) > room
