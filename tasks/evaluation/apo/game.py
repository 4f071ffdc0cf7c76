"""The state of the game between the reward model and the policy, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CAUGHT_UP = 0.55
"""At this accuracy on gold against fresh samples or below, the policy has caught up."""
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


def game_state(
    epoch: int,
    human: Mapping[str, float],
    fresh: Mapping[str, float],
    *,
    start_ece: float | None = None,
) -> GameState:
    """Return the state of the game from the metrics of one reward model's evaluation.

    Args:
        epoch: The APO epoch; 0 is the state before the game.
        human: Metrics on human pairs: `accuracy`, `accuracy_se`, `ece`.
        fresh: Metrics on gold (column 0) against fresh samples, never trained on: `accuracy`,
            `accuracy_se`, `margin`, `margin_se`, `length_correlation`, `longer_wins`,
            `length_matched`, `length_matched_pairs`.
        start_ece: Calibration error at the start of the game; None where this is the start.

    Returns:
        The state with its verdict.

    Example:
        >>> human = {"accuracy": 0.7, "accuracy_se": 0.1, "ece": 0.3}
        >>> fresh = {"accuracy": 0.5, "accuracy_se": 0.01, "margin": 0.0, "margin_se": 0.1}
        >>> fresh |= {"length_correlation": 0.0, "longer_wins": 0.5}
        >>> fresh |= {"length_matched": 0.5, "length_matched_pairs": 4.0}
        >>> game_state(1, human, fresh).verdict
        'the policy has caught up: gold is told from fresh samples no better than by a coin'
    """
    return GameState(
        epoch=epoch,
        human_accuracy=human["accuracy"],
        human_accuracy_se=human["accuracy_se"],
        gold_accuracy=fresh["accuracy"],
        gold_accuracy_se=fresh["accuracy_se"],
        margin=fresh["margin"],
        margin_se=fresh["margin_se"],
        ece=human["ece"],
        ece_drift=0.0 if start_ece is None else human["ece"] - start_ece,
        length_correlation=fresh["length_correlation"],
        longer_is_gold=fresh["longer_wins"],
        matched_accuracy=fresh["length_matched"],
        matched_pairs=int(fresh["length_matched_pairs"]),
        verdict=verdict(fresh["accuracy"], fresh["longer_wins"], fresh["accuracy_se"]),
    )


def verdict(gold_accuracy: float, longer_is_gold: float, error: float = 0.0) -> str:
    """Say in plain words what the accuracy on gold against fresh samples means.

    Args:
        gold_accuracy: Share of the pairs in which gold has the higher reward.
        longer_is_gold: Share of them in which gold is the longer one.
        error: Standard error of `gold_accuracy`. A share whose 95 % interval holds a coin's means
            nothing, unless it is narrow around a coin's: then the policy has caught up.

    Example:
        >>> verdict(0.8, 0.5)
        'the game is on: gold is told from fresh samples in 80% of pairs'
        >>> verdict(0.57, 0.5, error=0.1)
        'undecided: gold is told from fresh samples in 57% of pairs (95 %: 37% to 77%)'
    """
    low, high = gold_accuracy - 1.96 * error, min(gold_accuracy + 1.96 * error, 1.0)
    is_about_half = 1 - CAUGHT_UP <= gold_accuracy <= CAUGHT_UP and high - low <= 0.2
    if error and low <= 0.5 <= high and not is_about_half:
        found = f"{gold_accuracy:.0%} of pairs (95 %: {max(low, 0.0):.0%} to {high:.0%})"
        return f"undecided: gold is told from fresh samples in {found}"
    if gold_accuracy < 1 - CAUGHT_UP:
        lost = 1 - gold_accuracy
        return f"the policy has overtaken gold: fresh samples score higher in {lost:.0%} of pairs"
    if gold_accuracy <= CAUGHT_UP:
        return "the policy has caught up: gold is told from fresh samples no better than by a coin"
    if gold_accuracy < TRIVIAL:
        return f"the game is on: gold is told from fresh samples in {gold_accuracy:.0%} of pairs"
    told_by_length = max(longer_is_gold, 1 - longer_is_gold)
    reason = f"length alone tells {told_by_length:.0%}"
    if told_by_length >= 0.9:
        return f"trivially separated: {gold_accuracy:.0%} of pairs, and {reason} of them"
    return f"trivially separated: {gold_accuracy:.0%} of pairs, though {reason} of them"
