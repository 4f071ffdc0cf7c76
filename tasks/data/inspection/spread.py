"""A distribution of lengths in four numbers, and how numbers look in a table's cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """How a length is distributed."""

    mean: float
    """Arithmetic mean."""
    median: int
    """Half are at most this long."""
    p95: int
    """19 of 20 are at most this long."""
    longest: int
    """The maximum."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Spread:
        """Summarise lengths; of none everything is 0."""
        if not lengths:
            return cls(0.0, 0, 0, 0)
        ordered = sorted(lengths)
        last = len(ordered) - 1
        mean = round(sum(ordered) / len(ordered), 1)
        return cls(mean, ordered[last // 2], ordered[last * 95 // 100], ordered[-1])


def share_cell(value: float | None) -> str:
    """Return a share as a table shows it, such as 12.5%; a dash where there is none."""
    return "–" if value is None else f"{value:.1%}"


def lengths_cell(spread: Spread) -> str:
    """Return a distribution as a table shows it: mean, 95th percentile and maximum."""
    return f"mean {spread.mean:,}, 95 % ≤ {spread.p95:,}, max {spread.longest:,}"
