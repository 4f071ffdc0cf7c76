"""Preferences without people: of two samples of a prompt an oracle chooses one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from tasks.data.files import GroupFolder, write_groups
from tasks.data.groups import Group, scores_of
from tasks.data.selection import keep_responses
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.score_shards import scored_shards
from tasks.settings.base import FrozenConfig, Seed
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace


class LabelConfig(FrozenConfig):
    """How an oracle chooses between two samples."""

    scoring: ScoringConfig = ScoringConfig()
    """How the oracle reads, where it is a reward model."""

    sampled: bool = False
    """Draw the winner with the Bradley–Terry chance of the two rewards, as an annotator who errs;
    default: the larger reward always wins. A tie is left out either way."""

    temperature: float = Field(default=1.0, gt=0)
    """Reward units per unit of the drawn winner's logit; larger errs more."""

    seed: Seed = 0
    """Of the drawn winners. Each prompt has a draw of its own, whatever stands around it."""


def label_in_shards(
    oracle: Path, responses: Path, config: LabelConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Score the first two responses of every group and write the pairs, chosen first.

    Args:
        oracle: What `open_scorer` opens.
        responses: Folder of groups with at least two responses.
        config: How the winner is chosen.
        workspace: Shards of scores are its parts; `output/` receives the pairs.
        log: Where progress goes.

    Returns:
        `pairs`, `ties`, `mean_gap` in reward units, and `agreement` with the larger reward.

    Raises:
        ConfigError: A group has fewer than two responses, or nothing at `oracle` can score.
        StageError: Every pair is tied.
    """
    groups = GroupFolder(responses)
    tally = _Tally()
    scored = scored_shards(
        oracle, len(groups), lambda i: first_two(groups[i]), config.scoring, workspace, log
    )
    write_groups(workspace.output, _pairs(scored, config, tally))
    if not tally.pairs:
        raise StageError(
            f"the oracle prefers nothing: all {tally.ties} pairs of {responses} are tied; sample "
            "at a higher temperature, or give another oracle"
        )
    log.note(f"{tally.pairs} pairs; {tally.ties} ties are left out")
    return {
        "pairs": float(tally.pairs),
        "ties": float(tally.ties),
        "mean_gap": tally.gap / tally.pairs,
        "agreement": tally.agreed / tally.pairs,
    }


def first_two(group: Group) -> Group:
    """Return the group with its first two responses and what is noted of them.

    Raises:
        ConfigError: It has fewer than two.
    """
    if len(group.responses) < 2:
        raise ConfigError(
            f"group {group.title} has {len(group.responses)} responses, and a preference needs two"
            ": sample at least two responses per prompt"
        )
    return keep_responses(group, (0, 1))


def winner(group: Group, config: LabelConfig) -> int | None:
    """Return which of two scored responses is chosen, by reward or by a draw; None for a tie."""
    first, second = scores_of(group)
    if first == second:
        return None
    if not config.sampled:
        return int(second > first)
    digest = hashlib.sha256(f"{config.seed}/{group.id}".encode()).digest()
    drawn = ((int.from_bytes(digest[:8]) >> 12) + 0.5) / 2**52
    # The logit of a uniform draw is logistic: it exceeds the gap with the chance of the other.
    noise = math.log(drawn / (1 - drawn))
    return int(noise > (first - second) / config.temperature)


@dataclass
class _Tally:
    """What was counted while the pairs were written."""

    pairs: int = 0
    ties: int = 0
    agreed: int = 0
    gap: float = 0.0


def _pairs(groups: Iterator[Group], config: LabelConfig, tally: _Tally) -> Iterator[Group]:
    for group in groups:
        chosen = winner(group, config)
        if chosen is None:
            tally.ties += 1
            continue
        rewards = scores_of(group)
        tally.pairs += 1
        tally.gap += abs(rewards[0] - rewards[1])
        tally.agreed += rewards[chosen] > rewards[1 - chosen]
        yield replace(keep_responses(group, (chosen, 1 - chosen)), scores=(1.0, 0.0))
