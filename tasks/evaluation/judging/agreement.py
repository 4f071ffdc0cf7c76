"""Whether reward models name the same winners as a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.data.files import read_groups
from tasks.evaluation.judging.verdicts import Judgement, Outcome
from tasks.evaluation.metrics.estimates import Estimate, mean_estimate
from tasks.settings.errors import ConfigError, did_you_mean

Scores = Mapping[str, tuple[float, float]]
"""What one reward model gives to our answer and to theirs, by the prompt's id."""
_WINNER = {"win": 1, "lose": -1}


def agreement(
    ids: Sequence[str], judgements: Sequence[Judgement], scores: Scores
) -> Estimate | None:
    """Return how often a judge and a reward model name the same winner; one half is chance.

    Pairs that either calls a tie, or knows nothing of, are left out; None where none is left.

    Args:
        ids: The prompts' ids.
        judgements: What the judge said of each.
        scores: What the reward model gives, by id.

    Example:
        >>> both = [Judgement("win", ("A", "B")), Judgement("lose", ("B", "A"))]
        >>> agreement(["p", "q"], both, {"p": (2.0, 1.0), "q": (2.0, 1.0)}).value
        0.5
    """
    same = []
    for name, judgement in zip(ids, judgements, strict=True):
        chosen = winner_by(scores.get(name))
        if chosen and judgement.outcome in _WINNER:
            same.append(float(chosen == _WINNER[judgement.outcome]))
    return mean_estimate(same) if same else None


def winner_by(scores: tuple[float, float] | None) -> int:
    """Return 1 where our score is the higher one, -1 where theirs is, 0 for equal or no scores."""
    return 0 if scores is None else (scores[0] > scores[1]) - (scores[0] < scores[1])


def opinions(name: str, scores: Mapping[str, Scores]) -> dict[str, Outcome]:
    """Return whom a reward model lets win, by the prompt's id.

    Raises:
        ConfigError: It did not score both sides; those that did are named.
    """
    if name not in scores:
        raise ConfigError(
            f"judge.cross_check.reward_model is {name!r}, which did not score both sides"
            f"{did_you_mean(name, scores)}"
        )
    said: dict[int, Outcome] = {1: "win", -1: "lose", 0: "tie"}
    return {one: said[winner_by(both)] for one, both in scores[name].items()}


def read_scores(
    ours: Mapping[str, Path], theirs: Mapping[str, Path] | None
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return what each reward model that scored both sides gives to their first answers.

    Args:
        ours: Folders of scored groups, by the reward model's name.
        theirs: Those of the opponent; None: the second response of each of our groups.
    """
    found = {}
    for name in ours if theirs is None else ours.keys() & theirs.keys():
        mine = _scores(ours[name])
        others = {one: scores[1:] for one, scores in mine.items()}
        if theirs is not None:
            others = _scores(theirs[name])
        shared = (one for one, scores in mine.items() if scores and others.get(one))
        found[name] = {one: (mine[one][0], others[one][0]) for one in shared}
    return dict(sorted(found.items()))


def _scores(folder: Path) -> dict[str, tuple[float, ...]]:
    return {group.id: group.scores or () for group in read_groups(folder)}
