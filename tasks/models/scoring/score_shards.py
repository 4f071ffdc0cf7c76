"""A scorer's rewards for whole sets of responses, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tasks.data.files import GroupFolder, read_groups, write_groups
from tasks.data.groups import Group, scores_of
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import Scorer, open_scorer
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace


def score_in_shards(
    scorer: Path, responses: Path, config: ScoringConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Score every response of a folder.

    Args:
        scorer: What `open_scorer` opens: a reward model, a classifier or a playground's world.
        responses: Folder of groups.
        config: Limits, batch size and precision.
        workspace: Shards are its parts; `output/` receives the groups with their scores.
        log: Where progress goes.

    Returns:
        `mean_score` in reward units and `tied_share`: groups whose scores are all equal.
    """
    groups = GroupFolder(responses)
    scored = scored_shards(scorer, len(groups), groups.__getitem__, config, workspace, log)
    write_groups(workspace.output, scored)
    return _summary(workspace.output)


def scored_shards(
    scorer: Path,
    count: int,
    group_at: Callable[[int], Group],
    config: ScoringConfig,
    workspace: Workspace,
    log: Log,
) -> Iterator[Group]:
    """Score groups in shards that are kept as parts; a shard that is there is not scored again.

    Args:
        scorer: What `open_scorer` opens; it is loaded only if a shard is missing.
        count: How many groups there are.
        group_at: Returns the group with a number below `count`.
        config: Limits, batch size, precision and the size of a shard.
        workspace: Shards are its parts.
        log: Where progress goes.

    Returns:
        The groups with their scores, in order, read as they are asked for; all are scored before.

    Raises:
        ConfigError: Nothing at `scorer` can score, or it cannot judge one of the prompts.
        StageError: A score is not a finite number.
    """
    loaded = None
    names = []
    for number, start in enumerate(range(0, count, config.shard_size)):
        names.append(f"shard-{number:05d}")
        end = min(start + config.shard_size, count)
        if workspace.part(names[-1]) is None:
            loaded = loaded or open_scorer(scorer, config, log)
            shard = [group_at(i) for i in range(start, end)]
            scored = _with_scores(shard, loaded.score(shard))
            workspace.save_part(names[-1], partial(write_groups, groups=scored))
        log.progress(end, count, "groups")
    if loaded:
        loaded.note_cut(log)
    parts = [part for name in names if (part := workspace.part(name))]
    assert len(parts) == len(names), "every shard was kept"
    return (group for part in parts for group in read_groups(part))


def scored_groups(scorer: Scorer, groups: list[Group], log: Log) -> list[Group]:
    """Return the groups with an open scorer's scores; the given ones stay as they are.

    Raises:
        ConfigError: The scorer cannot judge one of the prompts.
        StageError: A score is not a finite number.
    """
    found = _with_scores(groups, scorer.score(groups))
    scorer.note_cut(log)
    return found


def _with_scores(groups: list[Group], scores: list[list[float]]) -> list[Group]:
    return [replace(group, scores=tuple(row)) for group, row in zip(groups, scores, strict=True)]


def _summary(folder: Path) -> dict[str, float]:
    total, count, tied, groups = 0.0, 0, 0, 0
    for group in read_groups(folder):
        scores = scores_of(group)
        groups += 1
        total += sum(scores)
        count += len(scores)
        tied += len(set(scores)) == 1
    return {"mean_score": total / max(count, 1), "tied_share": tied / max(groups, 1)}
