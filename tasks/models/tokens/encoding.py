"""Groups as token ids: prompt and response tokenised apart, EOS at each response's end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from tasks.data.groups import finished
from tasks.models.tokens import templates
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
    on_long_response: Literal["error", "truncate_without_eos"] = "error"
    """What happens to a longer response: stop, or keep its beginning without EOS (so that nothing
    teaches the model to end there). Counted either way, never silent."""


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
    template = templates.resolve_template(tokenizer, template)
    text = templates.render_prompt(tokenizer if template is None else template, prompt)
    # Under a named template, text that spells a special token is text. A model's own template
    # writes special tokens on purpose.
    ids = _ids(tokenizer, text, specials_are_text=template is not None)
    start = _start_ids(tokenizer)
    if ids[: len(start)] == start:
        ids = ids[len(start) :]
    if not ids and not start:
        # Something must predict the first response token; models without BOS are trained with
        # EOS between their documents.
        start = [tokenizer.eos_token_id]
    room = max_tokens - len(start)
    if room < 0 or max_tokens < 1:
        raise ConfigError(f"max_prompt_tokens is {max_tokens}, which leaves no room for a prompt")
    kept = ids[len(ids) - room :] if len(ids) > room else ids
    return start + kept, len(ids) > room


def encode_group(
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    group: Group,
    limits: Limits,
    *,
    as_sampled: bool = False,
) -> EncodedGroup:
    """Token ids of a group's prompt and responses, tokenised apart.

    Tokenising them together could merge the prompt's last characters with the response's first,
    and then the response would have no tokens of its own.

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
    template = templates.resolve_template(tokenizer, template)
    prompt_ids, cut = encode_prompt(tokenizer, template, group.prompt, limits.max_prompt_tokens)
    drawn = _as_sampled(tokenizer, template, group) if as_sampled else None
    responses, flags = [], []
    for place, (response, has_ended) in enumerate(
        zip(group.responses, finished(group), strict=True)
    ):
        ids = drawn[place] if drawn else None
        if ids is None:
            text = templates.render_response(template, response)
            ids = _ids(tokenizer, text, specials_are_text=True)
            # A sample that the length limit cut off was not ended by its model, and must not look
            # so.
            if has_ended or not ids:
                ids = [*ids, tokenizer.eos_token_id]
        long = len(ids) > limits.max_response_tokens
        # Decoded and encoded again, a sample may be longer than what was drawn: nobody's mistake.
        if long and limits.on_long_response == "error" and "ended" not in group.extra:
            raise RecordError(
                f"a response of the group {group.id} has {len(ids)} tokens, the limit is "
                f"{limits.max_response_tokens}: raise max_response_tokens, or set "
                "on_long_response: truncate_without_eos"
            )
        responses.append(ids[: limits.max_response_tokens] if long else ids)
        flags.append(long)
    return EncodedGroup(prompt_ids, responses, cut, flags)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, template: str | None) -> str:
    """Return 16 hex digits that name what token ids mean: the vocabulary, EOS and the template."""
    name = templates.resolve_template(tokenizer, template)
    known = _vocabularies.get(tokenizer)
    if known is None or known[0] != len(tokenizer):
        listed = json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=False)
        digest = hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()
        known = _vocabularies[tokenizer] = (len(tokenizer), digest)
    source = tokenizer.chat_template if name is None else templates.find_template(name).source
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


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, *, specials_are_text: bool) -> list[int]:
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=specials_are_text,
        verbose=False,
    )
    return list(encoded["input_ids"])


def _start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # What the tokenizer itself puts before a text: BOS for Llama, nothing for GPT-2 and Qwen2.
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else []
