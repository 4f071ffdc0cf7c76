"""What the loop needs to know about a training: how to batch its samples, and their loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from tasks.models.batching import GroupBatch


class MicroBatch(NamedTuple):
    """Some samples of one optimiser step, small enough for one forward pass. B groups, K slots."""

    data_set: str
    """Which of the training's data sets they are from."""
    indices: tuple[int, ...]
    """Their rows in that data set."""
    ids: tuple[str, ...]
    """Their names, for messages."""
    groups: GroupBatch
    """Their tokens."""
    scores: Tensor | None = None
    """What each response scored, in the annotator's or reward model's units. Shape (B, K)."""
    reference_logps: Tensor | None = None
    """Log-probability of each response under the reference, nats. Shape (B, K)."""


class TrainingTask(Protocol):
    """A data set (or several) with an objective."""

    def micro_batches(self, indices: dict[str, list[int]]) -> Iterable[MicroBatch]:
        """Yield the samples of one optimiser step in pieces, on the CPU, in a fixed order.

        Args:
            indices: rows of each data set that belong to the step.
        """
        ...

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what a micro-batch contributes to the step's loss and metrics.

        Contributions of the micro-batches of one step *sum* to the step's values.

        Args:
            model: the model being trained.
            batch: one of ``micro_batches``, on the model's device.
            counts: samples of each data set in the whole step: the denominators.

        Returns:
            The contribution to the loss, shape (), and to each metric.
        """
        ...


def split_rows(rows: Sequence[int], size: int) -> Iterable[list[int]]:
    """Cut rows into consecutive pieces of at most ``size``.

    Example:
        >>> list(split_rows([5, 6, 7], 2))
        [[5, 6], [7]]
    """
    return (list(rows[start : start + size]) for start in range(0, len(rows), size))
