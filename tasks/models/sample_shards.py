"""Sampling a whole set of queries shard by shard, so that a kill costs one shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group
from tasks.data.selection import sampled
from tasks.models.memory import kept_memory
from tasks.models.sampling import generation
from tasks.models.sampling.config import MANY_UNFINISHED, SamplingConfig
from tasks.models.sampling.generation import Completion
from tasks.models.tokens.encoding import Limits
from tasks.processes.watchdog import Heartbeat, watch
from tasks.settings.base import FrozenConfig
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class RolloutConfig(FrozenConfig):
    """How a policy answers a set of queries."""

    sampling: SamplingConfig = SamplingConfig()
    """Responses per query, temperature, truncation, length."""

    limits: Limits = Limits()
    """Longest prompt; a longer one loses its beginning."""

    template: str | None = None
    """Chat template by name; None for the tokenizer's own."""

    max_queries: int | None = Field(default=None, ge=1)
    """Only so many queries, a sample by the hash of the prompt, the same for every policy; default
    all."""


def sample_in_shards(
    policy: Path, queries: Path, config: RolloutConfig, workspace: Workspace, log: Log, seed: int
) -> dict[str, float]:
    """Sample every query once, in shards that are kept as parts.

    The composition of a batch depends on its shard alone and a shard that was interrupted starts
    again, so a resumed run writes the same bytes.

    Args:
        policy: Model folder.
        queries: Folder of groups; a prompt that occurs more than once is sampled once.
        config: Draws and limits.
        workspace: Shards are its parts; `output/` receives K = S groups in the queries' order.
        log: Where progress goes.
        seed: Of all draws.

    Returns:
        `queries` and `responses` (counts), `mean_tokens`, `ended_share`, `speed/tokens_per_second`.

    Raises:
        ConfigError: The policy cannot be loaded, or its context is too short for the limits.
        StageError: No token came for `stall_seconds`, or the logits are not finite.
    """
    prompts = unique_prompts(GroupFolder(queries), config.max_queries)
    size = config.sampling.shard_size
    shards = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    names = [f"shard-{number:05d}" for number in range(len(shards))]
    missing = [number for number, name in enumerate(names) if workspace.part(name) is None]
    started, sampled = time.monotonic(), 0
    with _engine(policy, config, workspace, log) if missing else nullcontext() as engine:
        for number in missing:
            assert engine is not None
            groups = _sample_shard(engine, shards[number], config, seed, number, log)
            workspace.save_part(names[number], partial(write_groups, groups=groups))
            sampled += sum(sum(group.extra["tokens"]) for group in groups)
            log.progress(min((number + 1) * size, len(prompts)), len(prompts), "queries")
    parts = [part for name in names if (part := workspace.part(name))]
    assert len(parts) == len(shards), "every shard was kept"
    write_groups(workspace.output, (group for part in parts for group in read_groups(part)), size)
    rate = sampled / max(time.monotonic() - started, 1e-9)
    found = _summary(read_groups(workspace.output))
    if found["responses"] and 1 - found["ended_share"] > MANY_UNFINISHED:
        log.note(
            f"{1 - found['ended_share']:.0%} of {found['responses']:.0f} responses do not end "
            f"within the {config.sampling.max_new_tokens} tokens of max_new_tokens"
        )
    return {**found, "speed/tokens_per_second": rate}


def unique_prompts(groups: GroupFolder, most: int | None) -> list[Group]:
    """Return the query of each id once, in order; a sample of `most` where that is given."""
    first: dict[str, Group] = {}
    for group in groups:
        first.setdefault(group.id, Group(prompt=group.prompt, id=group.id))
    return list(sampled(first.values(), most))


class _Engine(NamedTuple):
    """What answers the shards of a stage."""

    sample: Callable[..., list[list[Completion]]]
    """`generation.sample` or `server_sampling.sample_from_server`, with its model or server."""
    tokenizer: PreTrainedTokenizerBase
    """The policy's own."""
    vocabulary: str
    """Fingerprint of tokenizer and template, kept with the token ids."""


@contextmanager
def _engine(
    policy: Path, config: RolloutConfig, workspace: Workspace, log: Log
) -> Iterator[_Engine]:
    from tasks.models.tokens.encoding import vocabulary_of
    from tasks.models.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(policy)
    vocabulary = vocabulary_of(tokenizer, config.template)
    if config.sampling.server is None:
        with kept_memory():
            yield _Engine(
                partial(generation.sample, _load(policy, config, tokenizer, log)),
                tokenizer,
                vocabulary,
            )
        return
    from tasks.models.server.process import model_server
    from tasks.models.server.sampling import sample_from_server

    with model_server(config.sampling.server, policy, folder=workspace.path, log=log) as server:
        yield _Engine(partial(sample_from_server, server), tokenizer, vocabulary)


def _load(
    policy: Path, config: RolloutConfig, tokenizer: PreTrainedTokenizerBase, log: Log
) -> PreTrainedModel:
    from tasks.models.policy import load_policy
    from tasks.models.precision import uses_bf16
    from tasks.models.prompt_sharing_check import ordinary_tokens
    from tasks.models.sampling.decode_rows import why_not_shared

    # Held in it rather than autocast to it: nothing is cast at each of many small steps.
    dtype = "bfloat16" if uses_bf16(config.sampling.precision) else "float32"
    model = load_policy(policy, dtype=dtype)
    tokens = ordinary_tokens(tokenizer)
    if not model.config.is_encoder_decoder and (reason := why_not_shared(model, tokens)):
        log.note(f"{reason}; each sample keeps the keys and values of its prompt, which is slower")
    return model


def _sample_shard(
    engine: _Engine,
    shard: Sequence[Group],
    config: RolloutConfig,
    seed: int,
    number: int,
    log: Log,
) -> list[Group]:
    def work(heartbeat: Heartbeat) -> list[list[Completion]]:
        return engine.sample(
            engine.tokenizer,
            config.template,
            [group.prompt for group in shard],
            config.sampling,
            seed,
            shard=number,
            max_prompt_tokens=config.limits.max_prompt_tokens,
            progress=heartbeat.beat,
        )

    stall = config.sampling.stall_seconds
    answers = watch(work, stall_seconds=stall, name=f"sampling of shard {number}", note=log.note)
    return [
        answered(group, found, engine.vocabulary)
        for group, found in zip(shard, answers, strict=True)
    ]


def answered(query: Group, answers: Sequence[Completion], vocabulary: str) -> Group:
    """Return a query with a policy's answers, and with what is known of their tokens.

    `vocabulary` says what the token ids mean; it is from `vocabulary_of`.
    """
    return Group(
        prompt=query.prompt,
        responses=tuple(answer.text for answer in answers),
        sources=tuple("policy" for _ in answers),
        id=query.id,
        extra={
            "tokens": [answer.tokens for answer in answers],
            "ended": [answer.ended for answer in answers],
            "ids": [None if answer.ids is None else list(answer.ids) for answer in answers],
            "vocabulary": vocabulary,
        },
    )


def _summary(groups: Iterator[Group]) -> dict[str, float]:
    queries, tokens, ended = 0, [], []
    for group in groups:
        queries += 1
        tokens += group.extra["tokens"]
        ended += group.extra["ended"]
    count = max(len(tokens), 1)
    return {
        "queries": float(queries),
        "responses": float(len(tokens)),
        "mean_tokens": sum(tokens) / count,
        "ended_share": sum(ended) / count,
    }
