"""Is the policy growing longer, or forgetting to stop, rather than better?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import Estimate, as_floats, clustered_mean
from tasks.models.sampling.config import MANY_UNFINISHED

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Grouped, Numbers


@dataclass(frozen=True, slots=True)
class LengthDrift:
    """How long a policy's completions are, how they end, and whether reward goes with length."""

    length: Estimate
    """Mean tokens of a completion, with an error clustered by prompt."""

    ended: Estimate
    """Share of completions that end by themselves (EOS or stop string) before the limit."""

    length_reward_correlation: float
    """Pearson correlation of length and reward over all completions; 0 where it is undefined."""

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged."""
        return {
            "length": self.length.value,
            "length_se": self.length.standard_error,
            "ended": self.ended.value,
            "ended_se": self.ended.standard_error,
            "length_reward_correlation": self.length_reward_correlation,
        }


def length_drift(
    lengths: Grouped, ended: Sequence[Sequence[bool]], rewards: Grouped | None = None
) -> LengthDrift:
    """Measure the length, the endings and the length–reward correlation of completions.

    Args:
        lengths: Tokens of each completion of each prompt. P lists.
        ended: Whether that completion ended by itself.
        rewards: The reward of that completion; None where nobody scored it (correlation 0).

    Returns:
        The means over completions and the correlation.

    Raises:
        ValueError: If the lists do not hold the same completions.

    Example:
        >>> drift = length_drift([[2, 4], [6]], [[True, True], [False]], [[0.0, 1.0], [2.0]])
        >>> drift.length.value
        4.0
    """
    scored = lengths if rewards is None else rewards
    columns = {"lengths": lengths, "ended": ended, "rewards": scored}
    sizes = {name: [len(group) for group in column] for name, column in columns.items()}
    if not sizes["lengths"] == sizes["ended"] == sizes["rewards"]:
        totals = ", ".join(f"{name} {sum(size)}" for name, size in sizes.items())
        raise ValueError(f"expected the same completions everywhere, got {totals}")
    correlation = 0.0 if rewards is None else pearson(_flat(lengths), _flat(rewards))
    return LengthDrift(clustered_mean(lengths), clustered_mean(ended), correlation)


def unfinished(ended: Mapping[str, float], limit: str) -> Iterator[str]:
    """Say, as one sentence, whose completions mostly run into the limit; nothing where few do.

    Args:
        ended: Share of completions that end by themselves, by who wrote them.
        limit: The key of the configuration that sets the limit.

    Example:
        >>> list(unfinished({"start": 0.04, "DPO": 1.0}, "sampling.max_new_tokens"))
        ["answers are cut off by sampling.max_new_tokens before they end, 96% of start's: judges \
score their beginnings; raise it, or train longer on answers that end"]
    """
    cut = {name: 1 - share for name, share in ended.items() if 1 - share > MANY_UNFINISHED}
    if cut:
        shares = ", ".join(f"{share:.0%} of {name}'s" for name, share in cut.items())
        yield (
            f"answers are cut off by {limit} before they end, {shares}: judges score their "
            "beginnings; raise it, or train longer on answers that end"
        )


def pearson(first: Numbers, second: Numbers) -> float:
    """Return Pearson's correlation of two columns, shape (N,); 0 where it is not defined.

    Example:
        >>> round(pearson([1, 2, 3], [6, 4, 2]), 6), pearson([1, 1], [0, 5])
        (-1.0, 0.0)
    """
    a, b = as_floats(first), as_floats(second)
    if a.size < 2 or not (np.ptp(a) and np.ptp(b)):
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / scale, -1, 1)) if scale else 0.0


def _flat(groups: Grouped) -> list[float]:
    return [value for group in groups for value in group]
