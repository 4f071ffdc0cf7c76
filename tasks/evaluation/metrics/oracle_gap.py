"""The oracle gap: how much of the reward that could be gained over the start was gained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import Interval, as_floats, bootstrap_means

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Grouped, Numbers


@dataclass(frozen=True, slots=True)
class GapClosed:
    """The share of the gap between the start and the best possible reward that is closed."""

    share: float | None
    """(policy - start) / (best - start); None when the start leaves no gap."""

    interval: Interval | None
    """95 % bootstrap over prompts, start, policy and best of a prompt drawn together."""

    start: float
    policy: float
    best: float
    prompts: int


def gap_closed(
    start: Grouped, policy: Grouped, best: Numbers, *, seed: int = 0, resamples: int = 2000
) -> GapClosed:
    """Measure how far a policy got from its start to the best achievable oracle reward.

    Args:
        start: Oracle rewards of the start's completions of each prompt. P lists, none empty.
        policy: Oracle rewards of the policy's completions, prompts in the same order.
        best: Best achievable oracle reward of each prompt. Shape (P,).
        seed: Seed of the private generator behind the interval.
        resamples: Number of bootstrap samples of the prompts.

    Returns:
        The share with its interval, and the three mean rewards it comes from.

    Raises:
        ValueError: If the three do not cover the same number of prompts, or there is none.

    Example:
        >>> gap_closed([[0.0], [0.0]], [[0.5], [0.5]], [1.0, 1.0]).share
        0.5
    """
    best = as_floats(best)
    if not len(start) == len(policy) == len(best) > 0:
        raise ValueError(
            f"expected the same prompts, got {len(start)} for the start, {len(policy)} for the "
            f"policy and {len(best)} for the best"
        )
    rows = np.array(
        [
            [as_floats(a).mean(), as_floats(b).mean(), c]
            for a, b, c in zip(start, policy, best, strict=True)
        ]
    )
    low_mean, mean, high_mean = (float(column) for column in rows.mean(axis=0))
    share = float(_share(rows.mean(axis=0)))
    interval = None
    if np.isfinite(share):
        means = bootstrap_means(rows, seed=seed, resamples=resamples).bootstrap_distribution
        # Resamples without a gap have no share and are left out: scipy's own interval of the share
        # would be nan as soon as there is one.
        low, high = np.nanpercentile(_share(means), [2.5, 97.5])
        interval = Interval(float(low), float(high))
    return GapClosed(
        share=share if np.isfinite(share) else None,
        interval=interval,
        start=low_mean,
        policy=mean,
        best=high_mean,
        prompts=len(rows),
    )


def _share(means: np.ndarray) -> np.ndarray:
    """Return the share of mean rewards (start, policy, best); nan where there is no gap."""
    start, policy, best = means
    gap = np.asarray(best - start)
    return np.divide(policy - start, gap, out=np.full_like(gap, np.nan), where=gap > 0)
