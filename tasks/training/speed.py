"""How fast a training is, and how much of what it computes is for nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tasks.models.groups.flops import backward_passes, best_matmul_rate, multiply_adds
from tasks.models.groups.group_model import Batch


@dataclass
class Work:
    """What one rank computed in one optimiser step."""

    groups: int = 0
    """Groups that counted."""
    tokens: int = 0
    """Their tokens, each prompt once."""
    computed: int = 0
    """Tokens that went through the model: with pads, repeated prompts and repeated groups."""
    multiply_adds: float = 0.0
    """Multiply-adds that real tokens need, forward and backward."""

    def add(self, model: nn.Module, batch: Batch, tokens: int, *, counts: bool) -> None:
        """Add one forward pass; where it does not count, its groups are counted by another rank."""
        self.computed += batch.computed
        if counts:
            self.groups += batch.mask.shape[0]
            self.tokens += tokens
            self.multiply_adds += multiply_adds(model, batch) * (1 + backward_passes(model))


def padding_share(work: Sequence[Work]) -> float:
    """Return which share of the computed tokens of all ranks was for nothing."""
    return 1 - sum(w.tokens for w in work) / max(1, sum(w.computed for w in work))


class Clock:
    """Measures one optimiser step."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def speeds(
        self, work: Sequence[Work], peak_gb: Sequence[float], device: str
    ) -> dict[str, float]:
        """Return the step's speeds, all ranks together; of their peak memories, GB, the largest."""
        seconds = time.perf_counter() - self._began
        rate = 2 * sum(w.multiply_adds for w in work) / seconds
        return {
            "speed/tokens_per_second": sum(w.tokens for w in work) / seconds,
            "speed/groups_per_second": sum(w.groups for w in work) / seconds,
            "speed/matmul_share": rate / (len(work) * best_matmul_rate(device)),
            "speed/peak_memory_gb": max(peak_gb),
        }
