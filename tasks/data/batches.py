"""Which groups meet in which optimiser step: a plan that can be read at any step number.

Because `plan.at(step)` is a pure function of the step, a training resumes from its cursor alone; no
iterator state is stored and no batch is skipped over by reading it.
"""

from __future__ import annotations

import random
from math import ceil

from tasks.settings.errors import ConfigError


class BatchPlan:
    """Every set once per epoch in an order of its own, spread evenly over the epoch's steps.

    With sets of 3,000 and 800 groups and a batch of 64, every step holds about 50 of the first and
    13 of the second, so that losses weighted by set see both in each step.

    Example:
        >>> plan = BatchPlan({"pairs": 4, "gold": 2}, batch_size=3, epochs=1, seed=0)
        >>> plan.steps, [len(plan.at(0)["pairs"]), len(plan.at(0)["gold"])]
        (2, [2, 1])
    """

    def __init__(
        self,
        counts: dict[str, int],
        batch_size: int,
        epochs: int,
        seed: int,
        max_steps: int | None = None,
    ) -> None:
        """Fix the plan.

        Args:
            counts: Groups per data set, each at least 0 and not all 0.
            batch_size: Groups per optimiser step over all sets together, at least 1.
            epochs: Passes over every set, at least 1.
            seed: Decides the orders; each set and epoch has a private generator.
            max_steps: The plan ends after so many steps at most; None is after the last epoch.

        Raises:
            ConfigError: A number is out of its range.
        """
        for name, value in {"batch_size": batch_size, "epochs": epochs}.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if any(count < 0 for count in counts.values()) or not sum(counts.values()):
            raise ConfigError(f"there is nothing to train on: groups per data set {counts}")
        self.counts, self.batch_size = dict(counts), batch_size
        self.epochs, self.seed = epochs, seed
        self.steps_per_epoch = ceil(sum(counts.values()) / batch_size)
        self.max_steps = max_steps
        self._orders: dict[str, tuple[int, list[int]]] = {}

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        whole = self.steps_per_epoch * self.epochs
        return whole if self.max_steps is None else min(whole, self.max_steps)

    @property
    def samples_planned(self) -> dict[str, int]:
        """Groups per data set over all steps."""
        return self.samples_seen(self.steps)

    def at(self, step: int) -> dict[str, list[int]]:
        """Return the groups of one optimiser step, 0 <= step < steps.

        Returns:
            Indices per data set; a set that has none in this step has an empty list.

        Raises:
            IndexError: There is no such step.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of a plan of {self.steps} steps")
        epoch, i = divmod(step, self.steps_per_epoch)
        n = self.steps_per_epoch
        return {
            name: self._order(name, epoch)[i * count // n : (i + 1) * count // n]
            for name, count in self.counts.items()
        }

    def samples_seen(self, step: int) -> dict[str, int]:
        """Return how many groups per data set the first `step` steps hold, repeats included."""
        epoch, i = divmod(step, self.steps_per_epoch)
        return {
            name: epoch * count + i * count // self.steps_per_epoch
            for name, count in self.counts.items()
        }

    def _order(self, name: str, epoch: int) -> list[int]:
        known = self._orders.get(name)
        if known is None or known[0] != epoch:
            order = list(range(self.counts[name]))
            # A text seed goes through sha512: the same order in every process and Python version.
            random.Random(f"{self.seed}/{name}/{epoch}").shuffle(order)
            self._orders[name] = known = (epoch, order)
        return known[1]
