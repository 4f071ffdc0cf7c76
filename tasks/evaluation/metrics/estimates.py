"""Means with their standard errors, and bootstrap intervals over prompts.

Completions of one prompt are alike, so wherever a prompt has several the error is that of a sample
of prompts, not of completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from scipy.stats._result_classes import BootstrapResult
    from torch import Tensor

    Grouped: TypeAlias = Sequence[Sequence[float]]
    Numbers: TypeAlias = Tensor | np.ndarray | Sequence[float] | Grouped

_Z = 1.96
_MOST_DRAWN = 2**22
"""Numbers that the bootstrap draws at once, which keeps it under some 100 MB for any test set."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and how far it may be from the truth."""

    value: float
    """The mean; 0 over an empty set."""

    standard_error: float
    """The standard error of the mean; 0 where fewer than two independent observations leave it
    unknown."""

    count: int
    """Independent observations: pairs, or prompts where completions are clustered by prompt."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def as_floats(values: Numbers) -> np.ndarray:
    """Return a flat or nested sequence, an array or a tensor (any dtype, device) as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def pair_of(first: Numbers, second: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return two equally long columns of finite numbers as float64.

    Args:
        first: One number per pair. Shape (N,), or () for one pair.
        second: The other number of each pair. Shape (N,), or ().

    Returns:
        Both as arrays of shape (N,).

    Raises:
        ValueError: If the shapes differ or are not one-dimensional, or a number is nan or infinite.
    """
    a, b = np.atleast_1d(as_floats(first)), np.atleast_1d(as_floats(second))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two columns of one length, got shapes {a.shape} and {b.shape}")
    bad = ~(np.isfinite(a) & np.isfinite(b))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"expected finite numbers, row {row} holds {a[row]} and {b[row]}")
    return a, b


def mean_estimate(values: Numbers) -> Estimate:
    """Return the mean of independent observations, shape (N,), with the error s / sqrt(N)."""
    numbers = as_floats(values).ravel()
    if numbers.size == 0:
        return Estimate(0.0, 0.0, 0)
    error = numbers.std(ddof=1) / np.sqrt(numbers.size) if numbers.size > 1 else 0.0
    return Estimate(float(numbers.mean()), float(error), int(numbers.size))


def clustered_mean(groups: Grouped) -> Estimate:
    """Return the mean over all observations, with an error for clusters of them.

    Args:
        groups: The observations of each prompt; groups may differ in length or be empty.

    Returns:
        The mean over observations; `count` is the number of prompts that have any.
    """
    clusters = [as_floats(group) for group in groups if len(group)]
    if not clusters:
        return Estimate(0.0, 0.0, 0)
    size = sum(cluster.size for cluster in clusters)
    mean = sum(cluster.sum() for cluster in clusters) / size
    count = len(clusters)
    if count < 2:
        return Estimate(float(mean), 0.0, count)
    squares = sum((cluster - mean).sum() ** 2 for cluster in clusters)
    error = np.sqrt(count / (count - 1) * squares) / size
    return Estimate(float(mean), float(error), count)


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over the seeds of a branch, whose test prompts are the same.

    Args:
        estimates: One estimate per seed, with its error over prompts. At least one.

    Returns:
        The mean; its squared error is the seeds' s² / n and, as prompts in common do not average
        out, the mean of their own squared errors. `count` is the number of seeds.

    Example:
        >>> over_seeds([Estimate(1.0, 0.0, 8), Estimate(3.0, 0.0, 8)])
        Estimate(value=2.0, standard_error=1.0, count=2)
    """
    seeds = mean_estimate([one.value for one in estimates])
    own = np.mean([one.standard_error**2 for one in estimates])
    return Estimate(seeds.value, float(np.sqrt(seeds.standard_error**2 + own)), len(estimates))


def share_interval(share: float, count: float) -> Interval:
    """Return Wilson's 95 % interval of a share, which holds for few observations and near 0 and 1.

    Source:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> share_interval(1.0, 0)
        Interval(low=0.0, high=1.0)
    """
    if not count:
        return Interval(0.0, 1.0)
    spread = _Z * ((share * (1 - share) + _Z**2 / (4 * count)) / count) ** 0.5
    low, high = (share + _Z**2 / (2 * count) + side * spread for side in (-1, 1))
    scale = 1 + _Z**2 / count
    return Interval(max(low / scale, 0.0), min(high / scale, 1.0))


def share_intervals(rows: Numbers, *, seed: int, resamples: int = 2000) -> list[Interval]:
    """Return a 95 % interval of the mean share of each column, over prompts.

    It is that of the bootstrap; where all shares of a column are the same, which tells the
    bootstrap of nothing else that may come, it is Wilson's.

    Args:
        rows: A row per prompt, at least one, each share in [0, 1]. Shape (P, C).
        seed: As for `bootstrap_means`.
        resamples: As for `bootstrap_means`.

    Example:
        >>> [one.low > 0.5 for one in share_intervals([[1.0], [1.0], [1.0], [1.0]], seed=0)]
        [True]
    """
    columns = as_floats(rows)
    ends = bootstrap_means(columns, seed=seed, resamples=resamples).confidence_interval
    return [
        share_interval(float(shares[0]), len(shares))
        if np.all(shares == shares[0])
        else Interval(float(low), float(high))
        for shares, low, high in zip(columns.T, *ends, strict=True)
    ]


def bootstrap_means(rows: Numbers, *, seed: int, resamples: int = 2000) -> BootstrapResult:
    """Return how the means of columns vary when prompts are drawn anew, with replacement.

    Args:
        rows: One row per prompt, so that what belongs together is drawn together. Shape (P, C), or
            (P,) for one column.
        seed: Seed of a private generator; the same seed gives the same intervals.
        resamples: How many samples of P prompts are drawn (R).

    Returns:
        scipy's result: `confidence_interval`, the 2.5th and the 97.5th percentile of each mean, and
        `bootstrap_distribution`, the means themselves, shape (C, R) or (R,).
    """
    from scipy.stats import bootstrap

    columns = as_floats(rows).T
    if columns.shape[-1] == 1:
        # scipy asks for two observations; a prompt beside itself has the mean that it has alone.
        columns = columns.repeat(2, axis=-1)
    return bootstrap(
        (columns,),
        np.mean,
        axis=-1,
        n_resamples=resamples,
        batch=max(1, _MOST_DRAWN // columns.size),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
