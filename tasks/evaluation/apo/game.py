"""The state of the game between the reward model and the policy, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.evaluation.metrics.estimates import Interval, share_interval

NEAR_COIN = Interval(0.4, 0.6)
"""Within these accuracies on gold against fresh samples the two are as good as not told apart."""
TRIVIAL = 0.95
"""From this accuracy on, the reward model tells the two apart without effort."""


@dataclass(frozen=True, slots=True)
class GameState:
    """How well a reward model still tells gold responses from the policy's after an epoch."""

    epoch: int
    human_accuracy: float
    """Accuracy on human preference pairs."""

    human_accuracy_se: float
    gold_accuracy: float
    """Share of (gold, fresh sample) pairs in which gold has the higher reward; a tie is wrong."""

    gold_accuracy_se: float
    """Standard error of that share, clustered by query."""

    gold_low: float
    """Lower end of the 95 % interval of that share."""

    gold_high: float
    """Its upper end."""

    margin: float
    """Mean reward of gold minus that of a fresh sample, reward units."""

    margin_se: float
    """Standard error of the margin, clustered by query."""

    ece: float
    """Expected calibration error on the human pairs."""

    ece_drift: float
    """The `ece` minus that of the reward model the game began with."""

    length_correlation: float
    """Pearson correlation of length (characters) and reward over gold and samples together."""

    longer_is_gold: float
    """Share of (gold, fresh sample) pairs in which gold is the longer: what length alone tells."""

    matched_accuracy: float
    """`gold_accuracy` on the pairs whose lengths differ by at most a tenth, where length tells
    nothing; 0 without such pairs."""

    matched_pairs: int
    """Number of those pairs."""

    verdict: str
    """The state in plain words."""

    @property
    def tells_gold(self) -> bool:
        """Whether the reward model is shown to tell gold from fresh samples."""
        return self.gold_low > 0.5

    @property
    def gold_found(self) -> str:
        """The share of pairs in which it does, with its interval."""
        return f"{self.gold_accuracy:.1%} (95 %: {self.gold_low:.1%} to {self.gold_high:.1%})"


def game_state(
    epoch: int,
    human: Mapping[str, float],
    fresh: Mapping[str, float],
    *,
    start_ece: float | None = None,
    queries: int | None = None,
    was_told: bool = True,
) -> GameState:
    """Return the state of the game from the metrics of one reward model's evaluation.

    Args:
        epoch: The APO epoch; 0 is the state before the game.
        human: Metrics on human pairs: `accuracy`, `accuracy_se`, `ece`.
        fresh: Metrics on gold (column 0) against fresh samples, never trained on: `accuracy`,
            `accuracy_se` and `accuracy_pairs`, `margin`, `margin_se`, `length_correlation`,
            `longer_wins`, `length_matched`, `length_matched_pairs`.
        start_ece: Calibration error at the start of the game; None where this is the start.
        queries: How many queries the fresh samples are of; None: as many as there are pairs.
        was_told: Whether a reward model of the game was shown to tell gold from samples before.

    Returns:
        The state with its verdict.

    Example:
        >>> human = {"accuracy": 0.7, "accuracy_se": 0.1, "ece": 0.3}
        >>> fresh = {"accuracy": 0.5, "accuracy_se": 0.01, "margin": 0.0, "margin_se": 0.1}
        >>> fresh |= {"length_correlation": 0.0, "longer_wins": 0.5}
        >>> fresh |= {"length_matched": 0.5, "length_matched_pairs": 4.0}
        >>> game_state(1, human, fresh).verdict
        'the policy has caught up: gold is told from fresh samples hardly better than by a coin, \
in 50% of pairs (95 %: 48% to 52%)'
    """
    share, error = fresh["accuracy"], fresh["accuracy_se"]
    # Pairs of one query are alike: they count as the independent pairs that have this error.
    independent = share * (1 - share) / error**2 if error else queries or fresh["accuracy_pairs"]
    ends = share_interval(share, independent)
    return GameState(
        epoch=epoch,
        human_accuracy=human["accuracy"],
        human_accuracy_se=human["accuracy_se"],
        gold_accuracy=share,
        gold_accuracy_se=error,
        gold_low=ends.low,
        gold_high=ends.high,
        margin=fresh["margin"],
        margin_se=fresh["margin_se"],
        ece=human["ece"],
        ece_drift=0.0 if start_ece is None else human["ece"] - start_ece,
        length_correlation=fresh["length_correlation"],
        longer_is_gold=fresh["longer_wins"],
        matched_accuracy=fresh["length_matched"],
        matched_pairs=int(fresh["length_matched_pairs"]),
        verdict=verdict(share, fresh["longer_wins"], ends, was_told=was_told),
    )


def verdict(
    gold_accuracy: float, longer_is_gold: float, ends: Interval, *, was_told: bool = True
) -> str:
    """Say in plain words what the accuracy on gold against fresh samples means, and no more.

    Args:
        gold_accuracy: Share of the pairs in which gold has the higher reward.
        longer_is_gold: Share of them in which gold is the longer one.
        ends: Where the share lies with 95 % confidence: what it leaves open is undecided.
        was_told: Whether a reward model of the game was shown to tell the two apart before; a
            policy catches up with none that never did.

    Example:
        >>> verdict(0.8, 0.5, Interval(0.7, 0.9))
        'the game is on: gold is told from fresh samples in 80% of pairs (95 %: 70% to 90%)'
        >>> verdict(0.57, 0.5, Interval(0.37, 0.77))
        'undecided: gold is told from fresh samples in 57% of pairs (95 %: 37% to 77%)'
    """
    found = f"{gold_accuracy:.0%} of pairs (95 %: {ends.low:.0%} to {ends.high:.0%})"
    never = "" if was_told else "; no reward model of the game was shown to tell them before"
    if NEAR_COIN.low <= ends.low and ends.high <= NEAR_COIN.high:
        told = f"gold is told from fresh samples hardly better than by a coin, in {found}"
        return f"the policy has caught up: {told}" if was_told else f"{told}{never}"
    if ends.low <= 0.5 <= ends.high:
        return f"undecided: gold is told from fresh samples in {found}{never}"
    if ends.high < 0.5:
        told = f"gold scores higher than fresh samples in only {found}"
        return f"the policy has overtaken gold: {told}" if was_told else f"{told}{never}"
    if ends.low < TRIVIAL:
        return f"the game is on: gold is told from fresh samples in {found}"
    told_by_length = max(longer_is_gold, 1 - longer_is_gold)
    reason = f"length alone tells {told_by_length:.0%}"
    if told_by_length >= 0.9:
        return f"trivially separated: {found}, and {reason} of them"
    return f"trivially separated: {found}, though {reason} of them"
