"""Preference accuracy with its error, beside what length alone would achieve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import Estimate, pair_of

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Numbers


@dataclass(frozen=True, slots=True)
class PreferenceReport:
    """How often a reward model agrees with the annotators, and whether length explains it."""

    accuracy: Estimate
    """Share of pairs with r(chosen) > r(rejected); a tie is wrong."""

    longer_wins: Estimate
    """The baseline that knows nothing but length: predict the longer response; a tie is wrong."""

    length_matched: Estimate
    """The reward model's accuracy on the pairs whose lengths differ by at most the tolerance."""

    ties: float
    """Share of pairs to which the reward model gives equal rewards."""

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged."""
        flat = {"ties": self.ties}
        for name in ("accuracy", "longer_wins", "length_matched"):
            estimate: Estimate = getattr(self, name)
            flat[name] = estimate.value
            flat[f"{name}_se"] = estimate.standard_error
            flat[f"{name}_pairs"] = float(estimate.count)
        return flat


def preference_report(
    chosen: Numbers,
    rejected: Numbers,
    chosen_lengths: Numbers,
    rejected_lengths: Numbers,
    *,
    tolerance: float = 0.1,
) -> PreferenceReport:
    """Compare rewards and lengths with the annotators' choices.

    Args:
        chosen: Reward of the chosen response. Shape (N,).
        rejected: Reward of the rejected response. Shape (N,).
        chosen_lengths: Length of the chosen response, in any unit. Shape (N,).
        rejected_lengths: Length of the rejected response, in the same unit. Shape (N,).
        tolerance: A pair is length-matched if its lengths differ by at most this share of the
            longer one.

    Returns:
        The three accuracies, each with its binomial standard error, and the share of ties.

    Raises:
        ValueError: If the columns differ in length or hold numbers that are not finite.

    Example:
        >>> report = preference_report([1.0, 1.0], [0.0, 2.0], [10, 5], [10, 9])
        >>> report.accuracy.value, report.longer_wins.value, report.length_matched.value
        (0.5, 0.0, 1.0)
    """
    won, lost = pair_of(chosen, rejected)
    long, short = pair_of(chosen_lengths, rejected_lengths)
    pair_of(won, long)
    matched = np.abs(long - short) <= tolerance * np.maximum(long, short)
    return PreferenceReport(
        accuracy=share(won > lost),
        longer_wins=share(long > short),
        length_matched=share((won > lost)[matched]),
        ties=share(won == lost).value,
    )


def share(hits: Numbers) -> Estimate:
    """Return the share p of true values with the error sqrt(p (1 − p) / N); 0 over an empty set."""
    flags = np.asarray(hits, dtype=bool)
    if flags.size == 0:
        return Estimate(0.0, 0.0, 0)
    p = float(flags.mean())
    return Estimate(p, float(np.sqrt(p * (1 - p) / flags.size)), int(flags.size))
