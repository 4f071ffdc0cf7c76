"""Sampling a policy: what to draw, and the draw itself for one shard of prompts.

Imports no torch: configs are read by `sparring plan`. The decoding loop is `decoding.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from tasks.models.precision import Precision
from tasks.models.server.process import ServerConfig
from tasks.models.tokens.templates import clean_response, resolve_template, stop_strings
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

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
    batch_tokens: int = Field(65_536, ge=1)
    """Tokens whose keys and values a batch holds at most: each prompt once and `max_new_tokens` of
    each sample. Changes the speed, not the draws; a single prompt may need more."""
    shard_size: int = Field(256, ge=1)
    """Prompts per shard, the unit that a killed stage resumes from."""
    precision: Precision = "auto"
    """What weights, keys and values are held in; draws are fp32. auto: bf16 where the processor has
    it (CUDA, or AVX-512-BF16 or AMX on a CPU), else fp32."""
    stall_seconds: float = Field(600.0, gt=0)
    """Without a new token for so long, sampling counts as stuck and the stage fails."""
    engine: Literal["own", "server"] = "own"
    """own: this process. server: a model server that the stage starts, see `server`; it draws with
    its own random numbers and precision."""
    server: ServerConfig | None = None
    """The server of engine `server`."""

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("a stop string is empty, which would end every response at once")
        return value

    @model_validator(mode="after")
    def _server_where_used(self) -> SamplingConfig:
        if (self.engine == "server") != (self.server is not None):
            raise ValueError(
                f"engine is {self.engine!r} and server is {'given' if self.server else 'not given'}"
                ": engine 'server' needs `server`, and only that engine reads it"
            )
        return self


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
    max_prompt_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
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
        progress: called after each step with the tokens it drew.

    Returns:
        For each prompt in order, its S completions.

    Raises:
        ConfigError: if prompt and response do not fit the model's context, or the tokenizer belongs
            to another model.
        StageError: if the model gives logits that are not finite; names the prompts.
    """
    from tasks.models.sampling.decoding import Request, decode
    from tasks.models.tokens.encoding import encode_prompt

    name = resolve_template(tokenizer, template)
    room = prompt_room(model.config, config, max_prompt_tokens)
    requests = [
        Request(index, encode_prompt(tokenizer, name, prompt, room)[0], tuple(prompt))
        for index, prompt in enumerate(prompts)
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
    """Return how many tokens a prompt may have.

    Args:
        model_config: of the policy.
        config: says how long a response may be.
        wanted: the configured limit; None for what the model's context leaves.

    Raises:
        ConfigError: if prompt and response do not fit the context.
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
