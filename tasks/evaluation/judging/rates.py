"""What the verdicts on many pairs come to: win, lose and tie, and what the order and length did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.judging.verdicts import Judgement
from tasks.evaluation.metrics.estimates import (
    Estimate,
    Interval,
    as_floats,
    mean_estimate,
    share_interval,
)
from tasks.evaluation.metrics.win_rates import WinRates, win_rates_of_shares

FEWEST_VALID = 0.5
"""Share of pairs with a valid judgement under which there is no verdict."""
_SHARES = {"win": (1.0, 0.0, 0.0), "lose": (0.0, 1.0, 0.0), "tie": (0.0, 0.0, 1.0)}
_OPPOSITE = {"win", "lose"}
_PENALTY = np.array([1e-4, 1e-2])
"""Of intercept and slope per pair; the first only keeps an unbroken row of wins finite."""


@dataclass(frozen=True, slots=True)
class VerdictRates:
    """How one side did against another under a judge, over prompts."""

    asked: int
    """Pairs that the judge was asked about."""
    valid: int
    """Pairs of which both answers could be read; all shares are of these."""
    rates: WinRates
    """Win, lose and tie; a verdict that flipped with the order is a tie."""
    flipped: Estimate
    """Share whose verdict chose the same position twice: the order decided it."""
    first_chosen: Estimate
    """Share of all decided answers that chose the answer shown first; one half without bias."""
    length_controlled: Interval | None
    """95 % interval of the win rate between answers of equal length; None for a handful of pairs,
    or where every pair is a tie."""
    length_controlled_win: float | None
    """That win rate; a tie counts one half."""
    confirmed: Estimate | None
    """Share of the pairs that both opinions could judge, in which a cross-check came to the same;
    None without one."""
    contradicted: Estimate | None
    """Share of these in which it named the other winner."""
    longer: float
    """Share of the valid pairs in which our answer is the longer one, equal lengths one half: what
    length alone would say."""

    @property
    def no_verdict(self) -> str:
        """Why the rates say nothing, as one sentence; empty where they do."""
        if not self.asked or self.valid / self.asked >= FEWEST_VALID:
            return "" if self.asked else "the judge was asked about no pair"
        return (
            f"no verdict: only {self.valid} of {self.asked} pairs were judged in the form that was "
            "asked for"
        )

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged; rates only where there is a verdict."""
        flat = {"asked": float(self.asked), "valid": float(self.valid)}
        if self.no_verdict:
            return flat
        flat |= self.rates.metrics() | {
            "flipped": self.flipped.value,
            "first_chosen": self.first_chosen.value,
        }
        if self.confirmed is not None and self.contradicted is not None:
            flat["confirmed"] = self.confirmed.value
            flat["contradicted"] = self.contradicted.value
        if self.length_controlled_win is not None:
            flat["length_controlled_win"] = self.length_controlled_win
        return flat


def verdict_rates(
    judgements: Sequence[Judgement],
    lengths: Sequence[tuple[int, int]],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> VerdictRates:
    """Return what the judgements of P pairs come to.

    Args:
        judgements: One per prompt.
        lengths: Of our answer and of theirs, in characters, in the same order.
        seed: Seed of the private generators behind the intervals.
        resamples: Number of bootstrap samples of the prompts.

    Raises:
        ValueError: If there are not as many lengths as judgements.

    Example:
        >>> both = [Judgement("win", ("A", "B")), Judgement("tie", ("A", "A"))]
        >>> found = verdict_rates(both, [(10, 12), (8, 8)])
        >>> found.rates.win, found.flipped.value, found.first_chosen.value
        (0.5, 0.5, 0.75)
    """
    if len(judgements) != len(lengths):
        raise ValueError(f"{len(judgements)} judgements and {len(lengths)} pairs of lengths")
    known = [
        (one, size)
        for one, size in zip(judgements, lengths, strict=True)
        if one.outcome != "invalid"
    ]
    shares = [_SHARES[one.outcome] for one, _ in known]
    decided = [said for one, _ in known for said in one.said if said != "tie"]
    controlled = _length_controlled(
        [win + tie / 2 for win, _, tie in shares],
        [float(ours - theirs) for _, (ours, theirs) in known],
        np.random.default_rng(seed),
        resamples,
    )
    both = [(one.alone, one.second) for one, _ in known if one.second]
    return VerdictRates(
        asked=len(judgements),
        valid=len(known),
        rates=win_rates_of_shares(shares, seed=seed, resamples=resamples),
        flipped=mean_estimate([float(one.flipped) for one, _ in known]),
        first_chosen=mean_estimate([float(said == "A") for said in decided]),
        length_controlled=controlled[1] if controlled else None,
        length_controlled_win=controlled[0] if controlled else None,
        confirmed=mean_estimate([float(a == b) for a, b in both]) if both else None,
        contradicted=mean_estimate([float({a, b} == _OPPOSITE) for a, b in both]) if both else None,
        longer=mean_estimate([(1 + np.sign(a - b)) / 2 for _, (a, b) in known]).value,
    )


def _length_controlled(
    wins: Sequence[float], gaps: Sequence[float], rng: np.random.Generator, resamples: int
) -> tuple[float, Interval] | None:
    """Return the win rate at equal length with its interval, by a logistic model of the length.

    Source:
        arXiv 2404.04475 (length-controlled AlpacaEval): P(win) = σ(θ + φ tanh(gap / std)), read at
        gap 0, with a small penalty on φ.
    """
    share, gap = as_floats(wins), as_floats(gaps)
    if len(share) < 10 or np.all(share == 0.5):
        return None
    spread = float(gap.std())
    length = np.tanh(gap / spread) if spread > 0 else np.zeros_like(gap)
    value = _at_equal_length(share, length)
    if np.all(share == share[0]):
        return value, share_interval(value, len(share))  # as of every share
    rows = rng.integers(len(share), size=(min(resamples, 500), len(share)))
    means = np.sort([_at_equal_length(share[row], length[row]) for row in rows])
    low, high = np.quantile(means, (0.025, 0.975))
    return value, Interval(float(low), float(high))


def _at_equal_length(share: np.ndarray, length: np.ndarray) -> float:
    """Fit intercept and slope by Newton's method, and return the probability at length 0."""
    features = np.stack([np.ones_like(length), length], axis=1)
    weights, penalty = np.zeros(2), np.diag(_PENALTY) * len(share)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-features @ weights))
        slope = features.T @ (share - chance) - penalty @ weights
        curve = (features * (chance * (1 - chance))[:, None]).T @ features + penalty
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return float(1 / (1 + np.exp(-weights[0])))
