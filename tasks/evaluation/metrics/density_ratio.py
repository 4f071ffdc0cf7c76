"""Density ratios by self-normalised importance sampling and a Gaussian kernel.

M samples of the start stand for its distribution. Weighted by π_θ / π_sft they stand for a learned
policy, weighted by exp(r / β) for the optimal one. Over log π_sft(y|x) a kernel makes densities of
the three; where the learned density lies above the start's, the policy moved mass there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import as_floats

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Numbers

LEAST_EFFECTIVE = 0.1
"""Share of the samples that weights must be worth before anything is read off them."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a learned policy is from the optimal one, on the same samples of one prompt."""

    reverse_kl: float
    """KL(learned ‖ optimal) between the weights, nats."""
    forward_kl: float
    """KL(optimal ‖ learned) between the weights, nats."""
    density_kl: float
    """KL(learned ‖ optimal) between the kernel densities over log π_sft(y|x), nats."""
    effective_samples: float
    """1 / Σ weight²: how many equally weighted samples the learned policy's are worth."""
    optimal_effective_samples: float
    """The same of the optimal policy's."""


def log_weights(log_ratios: Numbers) -> np.ndarray:
    """Return the logs of self-normalised importance weights.

    Args:
        log_ratios: Of each sample of π_sft, log π_θ(y|x) − log π_sft(y|x), or r(x, y) / β for the
            optimal policy. Shape (M,).

    Returns:
        Logs of weights that add up to 1. Shape (M,).

    Source:
        Section 4.1, arXiv 2402.00856 (EXO).

    Example:
        >>> np.exp(log_weights([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    values = as_floats(log_ratios)
    shifted = values - values.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def effective_samples(logs: np.ndarray) -> float:
    """Return how many equally weighted samples these weights are worth: 1 / Σ weight².

    Args:
        logs: Logs of weights that add up to 1. Shape (M,).

    Returns:
        From 1, where one sample decides, to M.

    Example:
        >>> round(effective_samples(np.log([0.5, 0.5])), 6)
        2.0
    """
    return float(1 / np.exp(2 * logs).sum())


def silverman(values: Numbers) -> float:
    """Return Silverman's bandwidth 0.9 · min(s, IQR / 1.34) · M^(−1/5).

    Args:
        values: Where the samples lie. Shape (M,).

    Returns:
        The kernel's standard deviation in the values' unit, at least 1e-3.

    Source:
        Silverman (1986), Density Estimation, eq. 3.31.
    """
    numbers = as_floats(values)
    quarter, three_quarters = np.percentile(numbers, [25, 75])
    deviation = numbers.std(ddof=1) if numbers.size > 1 else 0.0
    spreads = [spread for spread in (deviation, (three_quarters - quarter) / 1.34) if spread > 0]
    return max(0.9 * min(spreads, default=0.0) * numbers.size**-0.2, 1e-3)


def kernel_density(
    grid: np.ndarray, values: Numbers, weights: Numbers, bandwidth: float
) -> np.ndarray:
    """Return a weighted Gaussian kernel density.

    Args:
        grid: Where it is evaluated. Shape (G,).
        values: Where the samples lie. Shape (M,).
        weights: The samples' weights, adding up to 1. Shape (M,).
        bandwidth: The kernel's standard deviation.

    Returns:
        The density per unit of `values`. Shape (G,).
    """
    distances = (grid[:, None] - as_floats(values)[None, :]) / bandwidth
    kernels = np.exp(-(distances**2) / 2) / (bandwidth * np.sqrt(2 * np.pi))
    return np.asarray(kernels @ as_floats(weights))


def weight_distance(learned: np.ndarray, optimal: np.ndarray, densities: Densities) -> Distance:
    """Compare a learned policy with the optimal one.

    Args:
        learned: Log weights of the learned policy. Shape (M,).
        optimal: Log weights of the optimal policy. Shape (M,).
        densities: The kernel densities of both policies.
    """
    return Distance(
        reverse_kl=_kl(learned, optimal),
        forward_kl=_kl(optimal, learned),
        density_kl=densities.divergence(),
        effective_samples=effective_samples(learned),
        optimal_effective_samples=effective_samples(optimal),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Densities:
    """A learned policy's and the optimal one's density on one grid."""

    grid: np.ndarray
    """Values of log π_sft(y|x), nats, evenly spaced. Shape (G,)."""
    learned: np.ndarray
    """The learned policy's density on the grid. Shape (G,)."""
    optimal: np.ndarray
    """The optimal policy's density on the grid. Shape (G,)."""

    def divergence(self) -> float:
        """Return KL(learned ‖ optimal) of the two, each normalised on the grid, nats."""
        tiny = np.finfo(np.float64).tiny
        logs = [np.log(np.maximum(one, tiny)) for one in (self.learned, self.optimal)]
        return _kl(log_weights(logs[0]), log_weights(logs[1]))


def density_ratio(density: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the ratio of a policy's density to the start's, from one kernel on the same samples.

    So the ratio is a local mean of M · weight, between the least and the largest of them.

    Args:
        density: The density of a policy. Shape (G,).
        start: The density of the start. Shape (G,).
    """
    tiny = np.finfo(np.float64).tiny
    return np.asarray(density / np.maximum(start, tiny))


def _kl(first: np.ndarray, second: np.ndarray) -> float:
    """KL between two distributions over the same points, from their logs."""
    return float((np.exp(first) * (first - second)).sum())
