"""What both sides of a training row share: the optimiser's settings and the order of the groups."""

from __future__ import annotations

from tasks.data.batches import BatchPlan
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.base import FrozenConfig


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


def ordered(
    groups: list[EncodedGroup], training: Training, name: str, *, by_length: bool = False
) -> list[int]:
    """Return which group stands at each place of our plan, repeated if there are few.

    By length, each step has the same groups, the short ones first: a micro-batch then pads little,
    and the training is the same.
    """
    plan = plan_of(training, name)
    order: list[int] = []
    for step in range(training.steps):
        rows = [row % len(groups) for row in plan.at(step)[name]]
        order += sorted(rows, key=lambda row: _longest(groups[row])) if by_length else rows
    return order


def micro_batches(training: Training, step: int, size: int) -> list[slice]:
    """Return the places of a step, `size` at a time."""
    places = range(step * training.batch, (step + 1) * training.batch)
    return [slice(at, min(at + size, places.stop)) for at in places[::size]]


def _longest(group: EncodedGroup) -> int:
    return len(group.prompt_ids) + max(map(len, group.responses_ids))
