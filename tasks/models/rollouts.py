"""Sampling a whole set of queries shard by shard, so that a kill costs one shard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group
from tasks.models.encoding import Limits
from tasks.models.generation import Completion, SamplingConfig
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
    """Only the first so many queries; default all."""


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
        `queries` and `responses` (counts), `mean_tokens`, `ended_share`, `tokens_per_second`.
    """
    prompts = unique_prompts(GroupFolder(queries), config.max_queries)
    size = config.sampling.shard_size
    shards = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    started, model = time.monotonic(), None
    sampled = 0
    for number, shard in enumerate(shards):
        name = f"shard-{number:05d}"
        if workspace.part(name) is None:
            model = model or _load(policy)
            groups = _sample_shard(model, shard, config, seed, number)
            workspace.save_part(name, partial(_keep, groups=groups))
            sampled += sum(sum(group.extra["tokens"]) for group in groups)
        log.progress(min((number + 1) * size, len(prompts)), len(prompts), "queries")
    names = [f"shard-{number:05d}" for number in range(len(shards))]
    parts = [part for name in names if (part := workspace.part(name))]
    assert len(parts) == len(shards), "every shard was kept"
    write_groups(workspace.output, (group for part in parts for group in read_groups(part)), size)
    rate = sampled / max(time.monotonic() - started, 1e-9)
    return {**_summary(read_groups(workspace.output)), "tokens_per_second": rate}


def unique_prompts(groups: GroupFolder, most: int | None) -> list[Group]:
    """Return the first group of each id, in order.

    Args:
        groups: Any folder of groups.
        most: Stop after so many; None for all.
    """
    seen: set[str] = set()
    first = []
    for group in groups:
        if group.id not in seen:
            seen.add(group.id)
            first.append(Group(prompt=group.prompt, id=group.id))
        if most is not None and len(first) == most:
            break
    return first


def _load(policy: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from tasks.models.policy import load_policy
    from tasks.models.tokenizer import load_tokenizer

    return load_policy(policy), load_tokenizer(policy)


def _sample_shard(
    loaded: tuple[Any, Any], shard: Sequence[Group], config: RolloutConfig, seed: int, number: int
) -> list[Group]:
    from tasks.models.generation import sample

    model, tokenizer = loaded
    answers = sample(
        model,
        tokenizer,
        config.template,
        [group.prompt for group in shard],
        config.sampling,
        seed,
        shard=number,
        max_prompt_tokens=config.limits.max_prompt_tokens,
    )
    return [_answered(group, found) for group, found in zip(shard, answers, strict=True)]


def _answered(query: Group, answers: Sequence[Completion]) -> Group:
    return Group(
        prompt=query.prompt,
        responses=tuple(answer.text for answer in answers),
        sources=tuple("policy" for _ in answers),
        id=query.id,
        extra={
            "tokens": [answer.tokens for answer in answers],
            "ended": [answer.ended for answer in answers],
        },
    )


def _keep(folder: Path, groups: list[Group]) -> None:
    write_groups(folder, groups)


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
