"""A reward model's scores for whole sets of responses, shard by shard."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import Field

from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group, scores_of
from tasks.models.encoding import Limits
from tasks.models.precision import Precision
from tasks.settings.base import FrozenConfig
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace


class ScoringConfig(FrozenConfig):
    """How a reward model reads and scores responses."""

    limits: Limits = Limits()
    """Longest prompt and response in the reward model's own tokens."""

    template: str | None = None
    """The reward model's chat template by name; None for its tokenizer's own."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens per forward pass, each prompt once; changes memory and speed only."""

    precision: Precision = "auto"
    """Arithmetic; weights and rewards are fp32. auto: bf16 where the processor has it (CUDA, or
    AVX-512-BF16 or AMX on a CPU), else fp32."""

    shard_size: int = Field(default=2000, ge=1)
    """Groups scored between two points that survive a kill."""


def score_in_shards(
    reward_model: Path, responses: Path, config: ScoringConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Score every response of a folder.

    Args:
        reward_model: Model folder.
        responses: Folder of groups.
        config: Limits, batch size and precision.
        workspace: Shards are its parts; `output/` receives the groups with their scores.
        log: Where progress goes.

    Returns:
        `mean_score` in reward units and `tied_share`: groups whose scores are all equal.
    """
    groups = GroupFolder(responses)
    loaded = None
    names = []
    for number, start in enumerate(range(0, len(groups), config.shard_size)):
        names.append(f"shard-{number:05d}")
        if workspace.part(names[-1]) is None:
            loaded = loaded or _load(reward_model)
            shard = list(islice((groups[i] for i in range(start, len(groups))), config.shard_size))
            scored = scored_groups(*loaded, shard, config, log)
            workspace.save_part(names[-1], partial(_keep, groups=scored))
        log.progress(min(start + config.shard_size, len(groups)), len(groups), "groups")
    parts = [part for name in names if (part := workspace.part(name))]
    assert len(parts) == len(names), "every shard was kept"
    write_groups(workspace.output, (group for part in parts for group in read_groups(part)))
    return _summary(workspace.output)


def scored_groups(
    model: object,
    tokenizer: object,
    groups: list[Group],
    config: ScoringConfig,
    log: Log | None = None,
) -> list[Group]:
    """Return the groups with a loaded reward model's scores; the given ones stay as they are.

    Args:
        model: Reward model.
        tokenizer: Its tokenizer.
        groups: Prompts with K responses each.
        config: Limits, batch size and precision.
        log: Is told where prompts cannot be shared.

    Raises:
        StageError: A score is not a finite number.
    """
    from tasks.models.scoring import score_groups

    scores = score_groups(
        model,
        tokenizer,
        config.template,
        groups,
        config.limits,
        config.batch_tokens,
        precision=config.precision,
        log=log,
    )
    return [replace(group, scores=tuple(row)) for group, row in zip(groups, scores, strict=True)]


def _load(path: Path) -> tuple[object, object]:
    import torch

    from tasks.models.reward_model import load_reward_model
    from tasks.models.tokenizer import load_tokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_reward_model(path, dtype="float32").to(device), load_tokenizer(path)


def _keep(folder: Path, groups: list[Group]) -> None:
    write_groups(folder, groups)


def _summary(folder: Path) -> dict[str, float]:
    total, count, tied, groups = 0.0, 0, 0, 0
    for group in read_groups(folder):
        scores = scores_of(group)
        groups += 1
        total += sum(scores)
        count += len(scores)
        tied += len(set(scores)) == 1
    return {"mean_score": total / max(count, 1), "tied_share": tied / max(groups, 1)}
