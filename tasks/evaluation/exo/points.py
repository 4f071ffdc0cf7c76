"""From the evaluations of an EXO run to the points of its frontier and its win rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.frontier import FrontierPoint
from tasks.evaluation.exo.series import KINDS, Series
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tasks.evaluation.metrics.estimates import Estimate, mean_estimate, over_seeds
from tasks.evaluation.metrics.win_rates import win_shares
from tasks.evaluation.report.data import scored_evaluation
from tasks.evaluation.report.pictures import Stop
from tasks.settings.errors import ConfigError

Evaluations = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shares:
    """How often the last checkpoints of a series win and lose, means over prompts and seeds."""

    win: Estimate
    """Share of all pairs of completions that the series wins."""
    lose: Estimate
    """Share that it loses; the rest is tied."""


def frontier_points(
    all_series: Iterable[Series], start: ExoEntry, evaluations: Evaluations, judge: str
) -> tuple[list[FrontierPoint], FrontierPoint]:
    """Return one point per checkpoint under one judge, and that of the start.

    All are over the same prompts: those that anybody was asked.

    Raises:
        ConfigError: An entry has no evaluation, no KL, or no reward of this judge.
    """
    entries = [(series.name, entry) for series in all_series for entry in series.entries]
    answered = {
        entry.name: scored_evaluation(entry.name, evaluations, judge)["per_prompt"]
        for _, entry in [("", start), *entries]
    }
    prompts = list(dict.fromkeys(key for per_prompt in answered.values() for key in per_prompt))
    points = [
        _point(entry, series, evaluations[entry.name], prompts, judge)
        for series, entry in [(KINDS["start"], start), *entries]
    ]
    return points[1:], points[0]


def courses(
    start: FrontierPoint, all_series: Iterable[Series], points: Mapping[str, FrontierPoint]
) -> dict[str, list[Stop]]:
    """Return the checkpoints of every trained line by step, means over its seeds, from the start.

    A step that not every seed was measured at is left out.
    """
    found = {}
    for series in (one for one in all_series if one.is_trained):
        by_step: dict[int, list[FrontierPoint]] = {}
        for entry in series.entries:
            by_step.setdefault(entry.step, []).append(points[entry.name])
        whole = {step: here for step, here in by_step.items() if len(here) == len(series.seeds)}
        stops = [_stop(step, here) for step, here in sorted(whole.items())]
        found[series.name] = [_stop(0, [start]), *stops]
    return found


def _stop(step: int, points: Sequence[FrontierPoint]) -> Stop:
    kl = over_seeds([one.kl for one in points])
    return Stop(step, over_seeds([one.reward for one in points]), kl)


def shares_against(
    entries: Sequence[ExoEntry], opponent: ExoEntry, evaluations: Evaluations, judge: str
) -> Shares:
    """Compare all completions of each seed with all of the opponent's, prompt by prompt.

    The entries are one checkpoint per seed; returned are means over the seeds.

    Source:
        Appendix C, arXiv 2402.00856 (EXO).
    """
    theirs = scored_evaluation(opponent.name, evaluations, judge)["per_prompt"]
    wins, losses = [], []
    for entry in entries:
        ours = scored_evaluation(entry.name, evaluations, judge)["per_prompt"]
        shared = [key for key in ours if key in theirs]
        rows = win_shares(
            [ours[key]["scores"][judge] for key in shared],
            [theirs[key]["scores"][judge] for key in shared],
        )
        wins.append(mean_estimate([win for win, _, _ in rows]))
        losses.append(mean_estimate([lose for _, lose, _ in rows]))
    return Shares(over_seeds(wins), over_seeds(losses))


def shares_between(
    ours: Sequence[ExoEntry], theirs: Sequence[ExoEntry], evaluations: Evaluations, judge: str
) -> Shares:
    """Compare the checkpoints of two series, one per seed, as `shares_against` does.

    Seeds meet in their order; those of the series that has fewer meet several.
    """
    pairs = max(len(ours), len(theirs))
    met = [
        shares_against([ours[row % len(ours)]], theirs[row % len(theirs)], evaluations, judge)
        for row in range(pairs)
    ]
    return Shares(over_seeds([one.win for one in met]), over_seeds([one.lose for one in met]))


def _point(
    entry: ExoEntry, series: str, evaluation: Mapping[str, Any], prompts: list[str], judge: str
) -> FrontierPoint:
    rows = [evaluation["per_prompt"].get(key) for key in prompts]
    rewards = [np.nan if row is None else float(np.mean(row["scores"][judge])) for row in rows]
    kl, log_ratios = _divergence(entry, evaluation, rows)
    picked = entry.kind == "best_of_n"
    return FrontierPoint(
        name=entry.name,
        series=series,
        seed=entry.seed,
        step=(entry.responses or 0) if picked else entry.step,
        kl=kl,
        reward=Estimate(**evaluation["scores"][judge]),
        accuracy=Estimate(**evaluation["accuracies"][judge]),
        spread=Estimate(**evaluation["spreads"][judge]),
        log_ratios=log_ratios,
        rewards=np.array(rewards),
    )


def _divergence(
    entry: ExoEntry, evaluation: Mapping[str, Any], rows: Sequence[Mapping[str, Any] | None]
) -> tuple[Estimate, np.ndarray]:
    """Return the KL to the start and its value per prompt; that of best-of-N is known."""
    if entry.kind != "policy":
        exact = best_of_n_kl(entry.responses or 1) if entry.kind == "best_of_n" else 0.0
        values = [np.nan if row is None else exact for row in rows]
        return Estimate(exact, 0.0, sum(row is not None for row in rows)), np.array(values)
    if "kl" not in evaluation:
        raise ConfigError(
            f"the evaluation {entry.name!r} has no KL: evaluate_policy needs the policy, the start "
            "and untruncated samples"
        )
    ratios = [(row or {}).get("log_ratios") for row in rows]
    values = [np.nan if row is None else float(np.mean(row)) for row in ratios]
    return Estimate(**evaluation["kl"]), np.array(values)
