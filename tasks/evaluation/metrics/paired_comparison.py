"""Two evaluations of policies, paired prompt by prompt under every judge they share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.evaluation.metrics.estimates import Interval, as_floats, bootstrap_means
from tasks.evaluation.metrics.win_rates import paired_difference, win_rates

if TYPE_CHECKING:
    PerPrompt = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class JudgeComparison:
    """How one policy does against another under one judge."""

    judge: str
    """A testing reward model, or the oracle."""
    prompts: int
    """Prompts both answered."""
    ours: float
    """Our mean score, reward units."""
    theirs: float
    """Their mean score, reward units."""
    difference: float
    """Mean over prompts of our mean score minus theirs."""
    interval: Interval
    """95 % bootstrap interval of the difference, over prompts."""
    wins: int
    """Prompts on which our mean score is higher."""
    ties: int
    """Prompts on which both are equal."""
    losses: int
    """Prompts on which theirs is higher."""
    win_rate: float
    """Share of all pairs of completions that ours wins; a tie is no win."""
    win_interval: Interval
    """95 % bootstrap interval of the win rate, over prompts."""


def compare_prompts(
    ours: PerPrompt,
    theirs: PerPrompt,
    judges: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> list[JudgeComparison]:
    """Compare two policies under each judge on the prompts both answered.

    Given is the `per_prompt` of both evaluations.

    Raises:
        ValueError: If they share no prompt.
    """
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise ValueError("the two evaluations share no prompt")
    result = []
    for judge in judges:
        a = [ours[key]["scores"][judge] for key in shared]
        b = [theirs[key]["scores"][judge] for key in shared]
        gaps = np.array(
            [as_floats(x).mean() - as_floats(y).mean() for x, y in zip(a, b, strict=True)]
        )
        low, high = bootstrap_means(gaps, seed=seed, resamples=resamples).confidence_interval
        rates = win_rates(a, b, seed=seed, resamples=resamples)
        result.append(
            JudgeComparison(
                judge=judge,
                prompts=len(shared),
                ours=float(np.mean([as_floats(x).mean() for x in a])),
                theirs=float(np.mean([as_floats(y).mean() for y in b])),
                difference=paired_difference(a, b).value,
                interval=Interval(float(low), float(high)),
                wins=int((gaps > 0).sum()),
                ties=int((gaps == 0).sum()),
                losses=int((gaps < 0).sum()),
                win_rate=rates.win,
                win_interval=rates.win_interval,
            )
        )
    return result


def prompt_gaps(ours: PerPrompt, theirs: PerPrompt, judge: str) -> dict[str, float]:
    """Return our mean score minus theirs per shared prompt, the worst for us first."""
    gaps = {
        key: float(as_floats(ours[key]["scores"][judge]).mean())
        - float(as_floats(theirs[key]["scores"][judge]).mean())
        for key in ours
        if key in theirs
    }
    return dict(sorted(gaps.items(), key=lambda item: (item[1], item[0])))


class TellingPair(NamedTuple):
    """Two answers to a prompt that show how the two policies differ there."""

    id: str
    """The prompt's."""
    judge: str
    """Whose scores these are."""
    difference: float
    """Our mean score minus theirs."""
    answers: tuple[int, int]
    """How many answers these are means of, ours and theirs."""
    places: tuple[int, int]
    """Which of our answers, and which of theirs."""
    scores: tuple[float, float]
    """The scores of those two."""


def telling_pairs(ours: PerPrompt, theirs: PerPrompt, judge: str, most: int) -> list[TellingPair]:
    """Return answers to the prompts on which two policies differ, `most` from either end.

    They are those of the same place, the shorter list over and over, with the largest gap in the
    direction of the means' difference: there is always one that is as large.
    """
    gaps = [(name, gap) for name, gap in prompt_gaps(ours, theirs, judge).items() if gap]
    found = []
    for name, gap in dict.fromkeys([*gaps[:most], *reversed(gaps[-most:])]):
        mine, other = ours[name]["scores"][judge], theirs[name]["scores"][judge]
        places = [(k % len(mine), k % len(other)) for k in range(math.lcm(len(mine), len(other)))]
        a, b = max(places, key=lambda at: gap * (mine[at[0]] - other[at[1]]))
        counts, scores = (len(mine), len(other)), (mine[a], other[b])
        found.append(TellingPair(name, judge, gap, counts, (a, b), scores))
    return found
