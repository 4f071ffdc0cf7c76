"""What a model server is sent: prompts as ids, or as a text that it must read so; how to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.data.groups import prompt_hash
from tasks.models.tokens.conversations import render_prompt
from tasks.models.tokens.encoding import encode_prompt
from tasks.settings.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.data.groups import Message

_MOST_DROPPED = 32


class SentPrompt(NamedTuple):
    """A prompt as it is sent."""

    content: list[int] | str
    """Token ids, or text."""
    tokens: int
    """How many tokens the server must see."""
    name: str
    """Hash of the prompt, for messages."""


def write_prompt(
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    prompt: Sequence[Message],
    max_tokens: int,
    *,
    as_text: bool,
) -> SentPrompt:
    """Write a conversation for a server.

    A server puts its tokenizer's BOS before a text by itself and takes what spells a special token
    for that token. So a text is sent only if it comes out as the very ids that our own engine
    would start from.

    Args:
        tokenizer: The policy's own.
        template: Name of a chat template; None is the one the tokenizer has.
        prompt: The turns so far.
        max_tokens: A longer prompt loses its beginning, as text possibly a few tokens more, up to
            where it reads the same.
        as_text: Write text; else token ids.

    Raises:
        StageError: No text comes out as the ids.
    """
    ids, cut = encode_prompt(tokenizer, template, prompt, max_tokens)
    name = prompt_hash(tuple(prompt))
    if not as_text:
        return SentPrompt(ids, len(ids), name)
    if not cut:
        rendered = render_prompt(tokenizer, template, prompt)
        bare = rendered.removeprefix(tokenizer.bos_token or "")
        for text in (bare, rendered, *_texts(tokenizer, ids)):
            if _read(tokenizer, text) == ids:
                return SentPrompt(text, len(ids), name)
    bos = ids[:1] if ids[:1] == _read(tokenizer, "") else []
    for start in range(len(bos), min(len(ids), len(bos) + _MOST_DROPPED) if cut else 0):
        kept = bos + ids[start:]
        for text in _texts(tokenizer, kept):
            if _read(tokenizer, text) == kept:
                return SentPrompt(text, len(kept), name)
    raise StageError(
        f"the prompt {name} cannot be sent: this server takes only text, and would read it as "
        "other tokens than ours, most likely because it spells a special token; use a server that "
        "takes token ids, such as vLLM, or clean the prompt"
    )


def ending_ids(model: Path, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> list[int]:
    """Return the token ids that end a response, as `end_ids` does for a policy in memory."""
    from transformers import AutoConfig, GenerationConfig

    from tasks.models.sampling.token_choice import end_ids

    try:
        found = GenerationConfig.from_pretrained(model)
    except OSError:
        found = GenerationConfig.from_model_config(AutoConfig.from_pretrained(model))
    return end_ids(_Generating(found), tokenizer, stops)


class _Generating(NamedTuple):
    """As much of a model as tells how responses end."""

    generation_config: Any


def _texts(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> Iterator[str]:
    """Yield texts that could stand for the ids, with and without the BOS that the server adds."""
    yield tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    yield tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False)


def _read(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids as a server makes them, which knows nothing of how the text was written."""
    return list(tokenizer(text, verbose=False)["input_ids"])
