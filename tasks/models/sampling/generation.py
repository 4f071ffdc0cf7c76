"""Sampling a policy's responses to one shard of prompts, in this process.

Imports no torch, so that the server's side can use it too. The decoding loop is `decoding.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.models.sampling.config import SamplingConfig
from tasks.models.tokens.conversations import resolve_template
from tasks.models.tokens.templates import clean_response, stop_strings
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from tasks.data.groups import Message


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response."""

    text: str
    """Without EOS, stop string or what the template puts before a response."""
    tokens: int
    """How many tokens were drawn, EOS or stop string included."""
    ended: bool
    """Whether the model ended it (EOS or stop string), not the limit."""
    ids: tuple[int, ...] | None = None
    """The tokens as drawn, EOS included; None where they are more than the text (a stop string was
    cut off) or nobody said."""


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    prompts: Sequence[Sequence[Message]],
    config: SamplingConfig,
    seed: int,
    *,
    shard: int = 0,
    places: Sequence[int] | None = None,
    max_prompt_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[list[Completion]]:
    """Sample S responses to each prompt of a shard.

    Each response has a random stream of its own, fixed by (seed, shard, its place): neither the
    batch size nor other shards nor torch's global stream change what is drawn.

    Args:
        model: A policy.
        tokenizer: Its own.
        template: Its chat template; None is the one its tokenizer has.
        prompts: One conversation per prompt.
        config: How to draw.
        seed: Of the run.
        shard: Number of the shard.
        places: Of the prompts in the shard, where they are only some of it.
        max_prompt_tokens: A longer prompt loses its beginning; None is what the context leaves.
        progress: Called after each step with the tokens it drew.

    Returns:
        For each prompt in order, its S completions.

    Raises:
        ConfigError: If prompt and response do not fit the model's context, or the tokenizer belongs
            to another model.
        StageError: If the model gives logits that are not finite; names the prompts.
    """
    from tasks.models.sampling.decoding import Request, decode
    from tasks.models.tokens.encoding import encode_prompt

    name = resolve_template(tokenizer, template)
    room = prompt_room(model.config, config, max_prompt_tokens)
    requests = [
        Request(place, encode_prompt(tokenizer, name, prompt, room)[0], tuple(prompt))
        for place, prompt in zip(places or range(len(prompts)), prompts, strict=True)
    ]
    _check_vocabulary(model, tokenizer, (request.ids for request in requests))
    stops = tuple(dict.fromkeys([*config.stop, *stop_strings(name)]))
    drawn = decode(model, tokenizer, requests, config, stops, (seed, "shard", shard), progress)
    return [
        [
            Completion(clean_response(name, found.text), found.tokens, found.ended, found.ids)
            for found in responses
        ]
        for responses in drawn
    ]


def prompt_room(model_config: PretrainedConfig, config: SamplingConfig, wanted: int | None) -> int:
    """Return how many tokens a prompt may have: the wanted number, or what the context leaves.

    Raises:
        ConfigError: If prompt and response do not fit the context.
    """
    context = getattr(model_config, "max_position_embeddings", None)
    if context is None:
        return wanted or 2**31 - 1
    # An encoder reads the prompt apart from the response.
    needed = 1 if model_config.is_encoder_decoder else wanted or 1
    room = context - config.max_new_tokens
    if room < needed:
        raise ConfigError(
            f"the policy has a context of {context} tokens: max_new_tokens {config.max_new_tokens} "
            f"leaves {max(room, 0)} for a prompt of up to {needed}; lower one of them"
        )
    if model_config.is_encoder_decoder:
        return min(wanted or context, context)
    return wanted or room


def _check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Iterable[Sequence[int]]
) -> None:
    size = model.get_input_embeddings().weight.shape[0]
    if (largest := max(map(max, prompts), default=0)) >= size:
        raise ConfigError(
            f"a prompt has the token {largest}, but the policy knows {size}: the tokenizer "
            f"{tokenizer.name_or_path!r} with {len(tokenizer)} tokens belongs to another model"
        )
