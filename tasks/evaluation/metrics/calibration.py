"""Does a reward model rank pairs rightly, and does it know how sure it may be?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import pair_of

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Numbers


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The predictions that fell between two probabilities."""

    lower: float
    """Lower edge, inside the bin."""

    upper: float
    """Upper edge, outside the bin (the last bin holds 1)."""

    count: int
    """Predictions in the bin; every pair makes two, one in each order."""

    accuracy: float
    """o_b: share in which the response named first was the chosen one; 0 in an empty bin."""

    confidence: float
    """e_b: mean predicted probability of that; 0 in an empty bin."""


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """How well sigmoid(r - r') predicts which response people chose."""

    pairs: int
    accuracy: float
    """Share of pairs with r(chosen) > r(rejected); a tie is wrong."""

    ece: float
    """Expected calibration error: the sum over bins of |D_b| / N |o_b - e_b|, both orders of every
    pair counted; in [0, 1]."""

    ace: float
    """Mean bin error over the bins that are not empty."""

    mce: float
    """Largest bin error."""

    brier: float
    """Mean squared error of the probability."""

    log_loss: float
    """Mean negative log-likelihood of the choices, nats."""

    bins: tuple[CalibrationBin, ...]

    def metrics(self) -> dict[str, float]:
        """Return the numbers without the bins, ready to be logged."""
        return {name: float(value) for name, value in asdict(self).items() if name != "bins"}


def preference_accuracy(chosen: Numbers, rejected: Numbers) -> float:
    """Share of pairs in which the chosen response has the higher reward.

    Args:
        chosen: Reward of the chosen response. Shape (N,).
        rejected: Reward of the rejected response. Shape (N,).

    Returns:
        A share in [0, 1]; a tie counts as wrong; 0 without pairs.

    Raises:
        ValueError: If the shapes differ or a reward is not finite.

    Source:
        Section 4.1, arXiv 2311.08045 (APO).

    Example:
        >>> preference_accuracy([2.0, 1.0, 0.0, 3.0], [1.0, 1.0, 1.0, 0.0])
        0.5
    """
    won, lost = pair_of(chosen, rejected)
    return float((won > lost).mean()) if won.size else 0.0


def calibration_report(chosen: Numbers, rejected: Numbers, *, bins: int = 10) -> CalibrationReport:
    """Measure accuracy and calibration of rewards on human pairs, both orders of each counted.

    Args:
        chosen: Reward of the chosen response. Shape (N,).
        rejected: Reward of the rejected response. Shape (N,).
        bins: Number of equally wide bins of the probability.

    Returns:
        The errors and the bins they come from; all zeros without pairs.

    Raises:
        ValueError: If the shapes differ, a reward is not finite or bins is below 1.

    Source:
        Eq. 2 and 19, arXiv 2311.08045 (APO), with |D_b| / N where |D_b| / B is printed by mistake.

    Example:
        Certain and right three times of four: both orders are off by a quarter.

        >>> calibration_report([99.0, 99.0, 99.0, 0.0], [0.0, 0.0, 0.0, 99.0]).ece
        0.25
        >>> report = calibration_report([0.0], [0.0], bins=2)
        >>> report.ece, [(b.count, b.accuracy, b.confidence) for b in report.bins]
        (0.0, [(0, 0.0, 0.0), (2, 0.5, 0.5)])
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    won, lost = pair_of(chosen, rejected)
    margin = won - lost
    table = _bins(_sigmoid(np.concatenate([margin, -margin])), margin.size, bins)
    filled = [bin_ for bin_ in table if bin_.count]
    errors = [abs(bin_.accuracy - bin_.confidence) for bin_ in filled]
    weights = [bin_.count / (2 * margin.size) for bin_ in filled]
    return CalibrationReport(
        pairs=int(margin.size),
        accuracy=preference_accuracy(won, lost),
        ece=float(sum(w * error for w, error in zip(weights, errors, strict=True))),
        ace=float(np.mean(errors)) if errors else 0.0,
        mce=float(max(errors, default=0.0)),
        # Both orders of a pair are wrong by the same amount, so one of them is enough here.
        brier=float((_sigmoid(-margin) ** 2).mean()) if margin.size else 0.0,
        log_loss=float(np.logaddexp(0, -margin).mean()) if margin.size else 0.0,
        bins=table,
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _bins(probability: np.ndarray, first_won: int, bins: int) -> tuple[CalibrationBin, ...]:
    """Fill the bins; the first `first_won` predictions came true and the others did not."""
    edges = np.arange(bins + 1) / bins
    index = np.searchsorted(edges[1:-1], probability, side="right")
    counts = np.bincount(index, minlength=bins)
    came_true = np.bincount(index[:first_won], minlength=bins)
    confidence = np.bincount(index, weights=probability, minlength=bins)
    return tuple(
        CalibrationBin(
            lower=float(edges[b]),
            upper=float(edges[b + 1]),
            count=int(counts[b]),
            accuracy=float(came_true[b] / counts[b]) if counts[b] else 0.0,
            confidence=float(confidence[b] / counts[b]) if counts[b] else 0.0,
        )
        for b in range(bins)
    )
