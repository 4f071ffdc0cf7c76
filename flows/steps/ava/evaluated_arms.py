"""What was made and measured of the arms of the flow `ava`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flows.steps.evaluation import EvaluatedPolicy
from tasks.evaluation.ava.config import AvaEntry, RewardEntry
from tasks.stages.artifact import Artifact

Evaluated = EvaluatedPolicy[AvaEntry]


class EvaluatedReward(NamedTuple):
    """An arm's reward model with what was measured of it."""

    entry: RewardEntry
    """How the report lists it."""
    evaluation: Artifact
    """What `evaluate_reward_model` left."""
    model: Artifact
    """The model."""
    diagnosis: Artifact | None
    """What its rewards of tokens look like; of whole arms of AVA."""
    scored: Artifact | None = None
    """The start's samples with its scores, where it goes on to pick and to train."""


class EvaluatedArm(NamedTuple):
    """All that was made and measured of one cell."""

    policies: list[Evaluated]
    """Its policy, or those that its reward model picked and trained."""
    reward: EvaluatedReward | None
    """Its reward model, if it is one."""
    snapshots: Sequence[Evaluated] = ()
    """Policies on PPO's way."""
