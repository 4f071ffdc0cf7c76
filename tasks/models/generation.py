"""Sampling a policy: what to draw, and the draw itself for one shard of prompts.

Imports no torch: configs are read by `sparring plan`. The decoding loop is `decoding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from tasks.models.templates import clean_response, resolve_template, stop_strings
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tasks.data.groups import Message


class SamplingConfig(FrozenConfig):
    """How a policy is sampled."""

    samples: int = Field(4, ge=1)
    """Responses per prompt (S)."""
    temperature: float = Field(1.0, ge=0.0)
    """Logits are divided by it; 0 is greedy."""
    top_k: int = Field(0, ge=0)
    """Draw among the k likeliest tokens; 0 is all."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Draw among the likeliest tokens that together have this probability; 1 is all."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest response, tokens, EOS included."""
    stop: tuple[str, ...] = ()
    """Strings that end a response, beside those of the chat template; they are cut off."""
    batch_size: int = Field(256, ge=1)
    """Rows (prompts x samples) decoded together. Changes the speed, not the draws."""
    shard_size: int = Field(256, ge=1)
    """Prompts per shard, the unit that a killed stage resumes from."""

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("a stop string is empty, which would end every response at once")
        return value


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response."""

    text: str
    """Without EOS, stop string or what the template puts before a response."""
    tokens: int
    """How many tokens were drawn, EOS or stop string included."""
    ended: bool
    """Whether the model ended it (EOS or stop string), not the limit."""


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    prompts: Sequence[Sequence[Message]],
    config: SamplingConfig,
    seed: int,
    *,
    shard: int = 0,
    max_prompt_tokens: int | None = None,
) -> list[list[Completion]]:
    """Sample S responses to each prompt of a shard.

    Each response has a random stream of its own, fixed by (seed, shard, its place): neither the
    batch size nor other shards nor torch's global stream change what is drawn.

    Args:
        model: a policy.
        tokenizer: its own.
        template: its chat template; None is the one its tokenizer has.
        prompts: one conversation per prompt.
        config: how to draw.
        seed: of the run.
        shard: number of the shard.
        max_prompt_tokens: a longer prompt loses its beginning; None is what the context leaves.

    Returns:
        For each prompt in order, its S completions.

    Raises:
        ConfigError: if prompt and response do not fit the model's context.
        StageError: if the model gives logits that are not finite; names the prompts.
    """
    from tasks.models.decoding import Request, decode
    from tasks.models.encoding import encode_prompt

    name = resolve_template(tokenizer, template)
    room = _prompt_room(model, config, max_prompt_tokens)
    requests = [
        Request(index, encode_prompt(tokenizer, name, prompt, room)[0], tuple(prompt))
        for index, prompt in enumerate(prompts)
    ]
    stops = tuple(dict.fromkeys([*config.stop, *stop_strings(name)]))
    drawn = decode(model, tokenizer, requests, config, stops, (seed, "shard", shard))
    return [
        [Completion(clean_response(name, text), tokens, ended) for text, tokens, ended in responses]
        for responses in drawn
    ]


def _prompt_room(model: PreTrainedModel, config: SamplingConfig, wanted: int | None) -> int:
    context = getattr(model.config, "max_position_embeddings", None)
    room = None if context is None else context - config.max_new_tokens
    if room is None:
        return wanted or 2**31 - 1
    if room < (wanted or 1):
        raise ConfigError(
            f"the policy has a context of {context} tokens: max_new_tokens {config.max_new_tokens} "
            f"leaves {max(room, 0)} for a prompt of up to {wanted or 1}; lower one of them"
        )
    return wanted or room
