"""Is a judge known to judge? Its accuracy on held-out pairs beside a coin's and length's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.metrics.estimates import Interval, share_interval

Evaluations = Mapping[str, Mapping[str, Any]]
COIN = 0.5
"""The accuracy of a coin."""


@dataclass(frozen=True, slots=True)
class JudgeAccuracy:
    """How often a reward model is right on pairs that it was not trained on."""

    judge: str
    """What the run calls it."""
    value: float
    """Share of the pairs ranked rightly; a tie is wrong."""
    interval: Interval
    """Where that share lies with 95 % confidence."""
    pairs: int
    """How many pairs there were."""
    by_length: float
    """The share that length alone tells: always the longer answer, or always the shorter one."""

    @property
    def doubt(self) -> str:
        """Why its scores say little, as one sentence; empty where it is shown to judge."""
        if self.interval.low <= COIN:
            return f"{self.judge} is not shown to judge better than a coin: {self.found}"
        if self.interval.low <= self.by_length:
            return f"{self.judge} is not shown to know more than length: {self.found}"
        return ""

    @property
    def sentence(self) -> str:
        """What is known of it, doubt or not."""
        return self.doubt or f"{self.judge} knows more than length: {self.found}"

    @property
    def found(self) -> str:
        """The numbers behind both."""
        return (
            f"right on {self.value:.1%} of {self.pairs} held-out pairs (95 %: "
            f"{self.interval.low:.1%} to {self.interval.high:.1%}), length alone on "
            f"{self.by_length:.1%}"
        )


def judge_accuracy(judge: str, figures: Mapping[str, float]) -> JudgeAccuracy:
    """Return how often a judge was right, from the metrics of one set of pairs.

    Args:
        judge: What the run calls it.
        figures: `accuracy` with its `_se` and `_pairs`, and `longer_wins`.

    Example:
        >>> figures = {"accuracy": 0.8, "accuracy_se": 0.04, "accuracy_pairs": 100.0}
        >>> judge_accuracy("RM", figures | {"longer_wins": 0.35}).sentence
        'RM knows more than length: right on 80.0% of 100 held-out pairs (95 %: 71.1% to 86.7%), \
length alone on 65.0%'
    """
    share, error = figures["accuracy"], figures["accuracy_se"]
    pairs, longer = figures["accuracy_pairs"], figures["longer_wins"]
    # Pairs of one prompt are alike: they count as the independent pairs that have this error.
    independent = share * (1 - share) / error**2 if error else pairs
    interval = share_interval(share, independent)
    return JudgeAccuracy(judge, share, interval, int(pairs), max(longer, 1 - longer))


def judge_accuracies(judges: Iterable[str], measured: Evaluations) -> list[JudgeAccuracy]:
    """Return how often judges were right on the test pairs, of those that were measured on such.

    Args:
        judges: By name; an oracle knows the true reward, and nobody measures it.
        measured: The evaluations of reward models, by name, then by set of pairs.
    """
    known = [name for name in judges if "test" in measured.get(name, {})]
    return [judge_accuracy(name, measured[name]["test"]["figures"]) for name in known]
