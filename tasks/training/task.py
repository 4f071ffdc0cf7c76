"""What the loop needs to know about a training: how to batch its samples, and their loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tasks.models.groups.group_model import Batch


class MicroBatch(NamedTuple):
    """Some samples of one optimiser step, small enough for one forward pass. B groups, K slots."""

    data_set: str
    """Which of the training's data sets they are from."""
    indices: tuple[int, ...]
    """Their rows in that data set."""
    ids: tuple[str, ...]
    """Their names, for messages."""
    groups: Batch
    """Their tokens, in the layout that the model takes."""
    scores: Tensor | None = None
    """What each response scored, in the annotator's or reward model's units. Shape (B, K)."""
    reference_logps: Tensor | None = None
    """Log-probability of each response under the reference, nats. Shape (B, K)."""
    ended: Tensor | None = None
    """Which responses their author ended, where it matters to the task. Bool, shape (B, K)."""
    tokens: int = 0
    """Tokens of the groups, each prompt once: what is left without pads and repetitions."""

    def to(self, device: torch.device | str) -> MicroBatch:
        """The same samples with their tensors on a device."""
        return self._replace(
            groups=self.groups.to(device),
            scores=None if self.scores is None else self.scores.to(device),
            reference_logps=(
                None if self.reference_logps is None else self.reference_logps.to(device)
            ),
            ended=None if self.ended is None else self.ended.to(device),
        )


class TrainingTask(Protocol):
    """A data set (or several) with an objective."""

    def sizes(self, name: str) -> Sequence[int]:
        """Return how many tokens each row of a data set takes of a forward pass."""

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        """Return some rows of one data set as one forward pass takes them, on the CPU."""

    def counts(self, rows: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return what the sums of one whole step are divided by: samples, unless a task adds more.

        A mean over tokens needs all the step's tokens, which no micro-batch knows.

        Args:
            rows: Rows of the step, per data set, over all ranks.
        """
        return {name: len(found) for name, found in rows.items()}

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what a micro-batch contributes to the step's loss and metrics.

        Contributions of the micro-batches of one step *sum* to the step's values.

        Args:
            model: The model being trained: maps ``batch.groups`` to one value per response.
            batch: One of ``micro_batch``, on the model's device.
            counts: Of the whole step, as the task's own `counts` says: the denominators.

        Returns:
            The contribution to the loss, shape (), and to each metric.
        """
