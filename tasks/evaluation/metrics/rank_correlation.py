"""Do rewards of tokens go with something known of the same tokens, beyond what chance gives?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.metrics.estimates import as_floats
from tasks.evaluation.metrics.length_drift import pearson


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's correlation over all tokens, and what shuffled tokens give."""

    value: float
    """In [-1, 1]; 0 where it is not defined."""
    control: float
    """Mean of the control: what is due to whole responses, not to which of their tokens."""
    control_low: float
    """The 2.5th percentile of the control."""
    control_high: float
    """The 97.5th."""
    tokens: int
    """Tokens compared."""

    @property
    def points_at_tokens(self) -> bool:
        """Whether the correlation is beyond the control's 95 %, so that tokens are told apart."""
        return self.tokens > 0 and self.value > self.control_high


def rank_correlation(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, shuffles: int, seed: int
) -> RankCorrelation:
    """Correlate the ranks of two numbers of every token; the control shuffles within responses.

    Args:
        first: One number per token, response by response.
        second: The other, of the same tokens.
        shuffles: How often the second is shuffled within each response.
        seed: Of the shuffles.

    Raises:
        ValueError: The two hold different tokens.

    Example:
        >>> found = rank_correlation([[1, 2], [3]], [[5, 6], [9]], shuffles=2, seed=0)
        >>> round(found.value, 6)
        1.0
    """
    from scipy.stats import rankdata

    sizes = [len(row) for row in first]
    if sizes != [len(row) for row in second]:
        raise ValueError("expected two numbers of the same tokens, response by response")
    if not sum(sizes):
        return RankCorrelation(0.0, 0.0, 0.0, 0.0, 0)
    mine, theirs = (
        rankdata(np.concatenate([as_floats(r) for r in rows])) for rows in (first, second)
    )
    owners = np.repeat(np.arange(len(sizes)), sizes)
    draws = np.random.default_rng(seed)
    controls = []
    for _ in range(shuffles):
        order = np.lexsort((draws.random(len(owners)), owners))
        controls.append(pearson(mine, theirs[order]))
    low, high = np.percentile(controls, [2.5, 97.5])
    mean = float(np.mean(controls))
    return RankCorrelation(pearson(mine, theirs), mean, float(low), float(high), len(owners))
