"""The state of the game between the reward model and the policy, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.calibration import calibration_report
from tasks.evaluation.drift import pearson
from tasks.evaluation.estimates import as_floats, clustered_mean
from tasks.evaluation.preferences import share

if TYPE_CHECKING:
    from tasks.evaluation.estimates import Grouped, Numbers

CAUGHT_UP = 0.55
TRIVIAL = 0.95


@dataclass(frozen=True, slots=True)
class GameState:
    """What a reward model can still tell apart after an epoch."""

    epoch: int
    human_accuracy: float
    """Accuracy on human preference pairs."""

    human_accuracy_se: float
    gold_accuracy: float
    """Share of (gold, fresh sample) pairs in which gold has the higher reward; a tie is wrong."""

    gold_accuracy_se: float
    """Clustered by query."""

    margin: float
    """Mean reward of gold minus that of a fresh sample, reward units."""

    margin_se: float
    """Clustered by query."""

    ece: float
    """Expected calibration error on the human pairs."""

    ece_drift: float
    """The same, minus that of the reward model the game began with."""

    length_correlation: float
    """Pearson correlation of length and reward over gold and samples together."""

    longer_is_gold: float
    """Share of (gold, fresh sample) pairs in which gold is the longer: what length alone tells."""

    verdict: str
    """The state in plain words."""

    def metrics(self) -> dict[str, float]:
        """Return the numbers without epoch and verdict, ready to be logged."""
        skipped = ("epoch", "verdict")
        return {name: value for name, value in asdict(self).items() if name not in skipped}


def game_state(
    epoch: int,
    *,
    chosen: Numbers,
    rejected: Numbers,
    gold: Numbers,
    samples: Grouped,
    gold_lengths: Numbers,
    sample_lengths: Grouped,
    start_ece: float | None = None,
) -> GameState:
    """Measure one reward model against human pairs and against the policy's newest samples.

    Args:
        epoch: the APO epoch; 0 is the state before the game.
        chosen: reward of the chosen response of each human pair. Shape (N,).
        rejected: reward of the rejected response. Shape (N,).
        gold: reward of the golden response of each query. Shape (Q,).
        samples: rewards of fresh samples of each query, never trained on. Q lists.
        gold_lengths: length of each golden response, tokens. Shape (Q,).
        sample_lengths: length of each sample, tokens. Q lists.
        start_ece: calibration error at the start of the game; None: this is the start.

    Returns:
        The state with its verdict.

    Raises:
        ValueError: if the queries of gold and samples do not match.

    Example:
        >>> game_state(
        ...     1, chosen=[1.0], rejected=[0.0], gold=[2.0, 0.0], samples=[[1.0], [1.0]],
        ...     gold_lengths=[3, 3], sample_lengths=[[3], [3]],
        ... ).verdict
        'the policy has caught up: gold is told from fresh samples no better than by a coin'
    """
    gold, gold_lengths = as_floats(gold), as_floats(gold_lengths)
    if not len(gold) == len(samples) == len(gold_lengths) == len(sample_lengths):
        raise ValueError(
            f"expected the same queries, got gold {len(gold)} and samples {len(samples)}, "
            f"lengths of gold {len(gold_lengths)} and of samples {len(sample_lengths)}"
        )
    gaps = [g - as_floats(row) for g, row in zip(gold, samples, strict=True)]
    longer = [n - as_floats(row) > 0 for n, row in zip(gold_lengths, sample_lengths, strict=True)]
    won = clustered_mean([gap > 0 for gap in gaps])
    margin = clustered_mean(gaps)
    human = calibration_report(chosen, rejected)
    length_share = clustered_mean(longer).value
    every_reward = np.concatenate([gold, *map(as_floats, samples)])
    every_length = np.concatenate([gold_lengths, *map(as_floats, sample_lengths)])
    return GameState(
        epoch=epoch,
        human_accuracy=human.accuracy,
        human_accuracy_se=share(as_floats(chosen) > as_floats(rejected)).standard_error,
        gold_accuracy=won.value,
        gold_accuracy_se=won.standard_error,
        margin=margin.value,
        margin_se=margin.standard_error,
        ece=human.ece,
        ece_drift=0.0 if start_ece is None else human.ece - start_ece,
        length_correlation=pearson(every_length, every_reward),
        longer_is_gold=length_share,
        verdict=verdict(won.value, length_share),
    )


def verdict(gold_accuracy: float, longer_is_gold: float) -> str:
    """Say in plain words what the accuracy on gold against fresh samples means.

    Args:
        gold_accuracy: share of (gold, fresh sample) pairs that the reward model gets right.
        longer_is_gold: share of these pairs in which gold is the longer.

    Returns:
        One sentence.

    Example:
        >>> verdict(0.8, 0.5)
        'the game is on: gold is told from fresh samples in 80% of pairs'
    """
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
