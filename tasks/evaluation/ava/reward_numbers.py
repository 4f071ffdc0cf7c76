"""Whether a TQR's rewards can be believed, in numbers that are plain and finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tasks.evaluation.metrics.estimates import Estimate
from tasks.objectives import ava_diagnostics as of

if TYPE_CHECKING:
    from tasks.evaluation.ava.positions import Positions

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles of temporal-difference errors that are reported."""
WITHIN = (1.0, 2.0)
"""Standard deviations within which errors are counted."""


@dataclass(frozen=True, slots=True)
class RewardNumbers:
    """What the positions of many responses say together; None where there is nothing to measure."""

    td: Mapping[float, float | None]
    """Quantile of |δ| by level, reward units."""
    within: Mapping[float, float | None]
    """Share of |δ − μ| below so many σ."""
    expected: Mapping[float, float]
    """The same of a Gaussian that is right."""
    floored: float | None
    """Share of the worse responses' tokens that are less likely than a token drawn at random."""
    std_counts: list[int]
    """Positions by standard deviation, from low to high."""
    std_edges: list[float]
    """Where these bins begin, and where the last ends, reward units."""
    positions: int
    """Positions looked at."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The accuracy where only the beginning of each response is shown."""

    name: str
    """How many tokens; `whole` for all of them."""
    tokens: int
    """The same as a number; for the whole that of the longest response."""
    accuracy: Estimate
    """Share of pairs ranked rightly; a tie is wrong."""
    ties: float
    """Share of pairs with equal scores, such as those that begin alike."""


def rewards_in_numbers(
    every: Positions, worse: Positions, *, gamma: float, vocabulary: int
) -> RewardNumbers:
    """Measure the rewards of many responses.

    Args:
        every: Positions of all responses.
        worse: Those of the worse responses of pairs.
        gamma: Discount of the next Q in δ.
        vocabulary: How many tokens there are to draw from.
    """
    real = torch.ones_like(every.irl)
    td = every.q - gamma * every.q_next
    quantiles = of.td_quantiles(td, every.irl, levels=LEVELS)
    within = of.gaussian_coverage(td, every.td_mean, every.td_log_std, every.irl, within=WITHIN)
    floored = of.share_floored(worse.log_lik, torch.ones_like(worse.irl), vocab_size=vocabulary)
    histogram = of.std_histogram(every.log_std, real)
    return RewardNumbers(
        dict(zip(LEVELS, map(_known, quantiles.tolist()), strict=True)),
        dict(zip(WITHIN, map(_known, within.tolist()), strict=True)),
        dict(zip(WITHIN, of.normal_coverage(WITHIN), strict=True)),
        _known(float(floored)),
        histogram.counts.tolist(),
        histogram.edges.tolist(),
        len(real),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
