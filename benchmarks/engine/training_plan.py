"""What both sides of a training row share: the optimiser's settings and the order of the groups."""

from __future__ import annotations

from typing import TypeVar

from tasks.data.batches import BatchPlan
from tasks.settings.base import FrozenConfig

AnyGroup = TypeVar("AnyGroup")


class Training(FrozenConfig):
    """How a row trains, on either side."""

    precision: str = "bf16"
    """bf16 is autocast over fp32 weights."""
    batch: int = 16
    """Groups per optimiser step."""
    warm: int = 2
    """Steps before the first block."""
    block: int = 2
    """Steps per block."""
    blocks: int = 12
    """Blocks that there are data for."""
    learning_rate: float = 1e-5
    """High enough that the losses move; constant, AdamW, no decay, gradients clipped at 1."""

    @property
    def steps(self) -> int:
        """Optimiser steps planned."""
        return self.warm + self.block * self.blocks

    @property
    def groups(self) -> int:
        """Groups the steps take."""
        return self.steps * self.batch


def plan_of(training: Training, name: str) -> BatchPlan:
    """Return our plan over as many groups as the steps take, one epoch; `name` is their set's."""
    return BatchPlan({name: training.groups}, training.batch, epochs=1, seed=0)


def ordered(groups: list[AnyGroup], training: Training, name: str) -> list[AnyGroup]:
    """Return the groups in the order in which our plan takes them, repeated if there are few."""
    plan = plan_of(training, name)
    rows = [row for step in range(training.steps) for row in plan.at(step)[name]]
    return [groups[row % len(groups)] for row in rows]
