"""Who wins: two policies' completions of the same prompts under one scorer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import (
    Estimate,
    Interval,
    as_floats,
    mean_estimate,
    share_intervals,
)

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Grouped


@dataclass(frozen=True, slots=True)
class WinRates:
    """Shares of prompts' comparisons won, lost and tied, with 95 % intervals over prompts."""

    win: float
    lose: float
    tie: float
    win_interval: Interval
    lose_interval: Interval
    tie_interval: Interval
    prompts: int

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged."""
        flat = {"prompts": float(self.prompts)}
        for name in ("win", "lose", "tie"):
            interval = asdict(getattr(self, f"{name}_interval"))
            flat[name] = getattr(self, name)
            flat |= {f"{name}_{end}": number for end, number in interval.items()}
        return flat


def win_rates(ours: Grouped, theirs: Grouped, *, seed: int = 0, resamples: int = 2000) -> WinRates:
    """Compare every completion of ours with every one of theirs, prompt by prompt.

    Args:
        ours: Scores of our completions of each prompt. P lists, of any length above 0.
        theirs: Scores of the opponent's completions of the same prompts, in the same order.
        seed: Seed of the private generator behind the intervals.
        resamples: Number of bootstrap samples of the prompts.

    Returns:
        The mean over prompts of the shares won, lost and tied, which add up to 1; zeros without
        prompts.

    Raises:
        ValueError: If the prompts do not match or one has no completion.

    Source:
        Appendix C, arXiv 2402.00856 (EXO): all combinations of the two policies' completions.

    Example:
        >>> rates = win_rates([[1.0, 3.0]], [[2.0, 3.0]])
        >>> rates.win, rates.lose, rates.tie
        (0.25, 0.5, 0.25)
    """
    return win_rates_of_shares(win_shares(ours, theirs), seed=seed, resamples=resamples)


def win_shares(ours: Grouped, theirs: Grouped) -> list[tuple[float, float, float]]:
    """Return the shares of comparisons won, lost and tied per prompt; as `win_rates`.

    Example:
        >>> win_shares([[1.0, 3.0]], [[2.0, 3.0]])
        [(0.25, 0.5, 0.25)]
    """
    return [_shares(a, b) for a, b in _matched(ours, theirs)]


def win_rates_of_shares(shares: Grouped, *, seed: int = 0, resamples: int = 2000) -> WinRates:
    """Return win rates from shares that are known per prompt, for example a judge's verdicts.

    Args:
        shares: Share won, lost and tied of each prompt, each in [0, 1]; a verdict is (1, 0, 0),
            (0, 1, 0) or (0, 0, 1).
        seed: Seed of the private generator behind the intervals.
        resamples: Number of bootstrap samples of the prompts.

    Returns:
        The means over prompts with their intervals; zeros without prompts.

    Example:
        >>> win_rates_of_shares([(1, 0, 0), (0, 0, 1)]).tie
        0.5
    """
    rows = as_floats(shares).reshape(-1, 3)
    if len(rows) == 0:
        nothing = Interval(0.0, 0.0)
        return WinRates(0.0, 0.0, 0.0, nothing, nothing, nothing, 0)
    intervals = share_intervals(rows, seed=seed, resamples=resamples)
    win, lose, tie = (float(mean) for mean in rows.mean(axis=0))
    return WinRates(win, lose, tie, intervals[0], intervals[1], intervals[2], len(rows))


def paired_difference(ours: Grouped, theirs: Grouped) -> Estimate:
    """Mean over prompts of our mean score minus theirs.

    Args:
        ours: Scores of our completions of each prompt. P lists, of any length above 0.
        theirs: Scores of the opponent's completions of the same prompts, in the same order.

    Returns:
        The mean difference in score units, with the standard error over prompts.

    Raises:
        ValueError: If the prompts do not match or one has no completion.

    Example:
        >>> paired_difference([[1.0, 3.0], [5.0]], [[1.0], [4.0]])
        Estimate(value=1.0, standard_error=0.0, count=2)
    """
    return mean_estimate([a.mean() - b.mean() for a, b in _matched(ours, theirs)])


def _shares(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    gaps = ours[:, None] - theirs[None, :]
    return float((gaps > 0).mean()), float((gaps < 0).mean()), float((gaps == 0).mean())


def _matched(ours: Grouped, theirs: Grouped) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(ours) != len(theirs):
        raise ValueError(f"the policies answered {len(ours)} and {len(theirs)} prompts")
    pairs = [(as_floats(a), as_floats(b)) for a, b in zip(ours, theirs, strict=True)]
    for row, (a, b) in enumerate(pairs):
        if not (a.size and b.size and np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError(f"prompt {row} needs finite scores on both sides, got {a} and {b}")
    return pairs
