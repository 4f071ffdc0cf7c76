"""How far a reward model's favour and a judge's part while one optimises: proxy, judge and KL.

What best-of-N gains is read off the start's own samples, for every smaller N too: the expected
best of n among all samples of a prompt. PPO has a point for each snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from tasks.data.files import read_groups
from tasks.data.groups import scores_of
from tasks.evaluation.ava.arm_lines import lines_of
from tasks.evaluation.ava.config import OWN, AvaReportConfig
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tasks.evaluation.metrics.estimates import Estimate, mean_estimate, over_seeds
from tasks.evaluation.report import figure_style as style
from tasks.evaluation.report.document import Plot

Scores = Mapping[str, np.ndarray]
"""Scores of a prompt's samples, by the prompt's id. Each of shape (M,)."""
_NOTHING = Estimate(0.0, 0.0, 1)
_DASHES = {"best_of_n": "-", "ppo": "--"}


@dataclass(frozen=True, slots=True)
class CoursePoint:
    """One policy on the way, as gains over the start."""

    step: int
    """N of best-of-N, or the number of PPO's snapshot; 0 is the start."""
    kl: Estimate
    """KL to the start, nats."""
    proxy: Estimate
    """By the reward model that picks or trains, in deviations of its scores of the start."""
    judge: Estimate
    """By the judge, reward units."""


@dataclass(frozen=True, slots=True)
class Course:
    """The points of one line, means over its seeds, from the start on."""

    line: str
    """The line's name, such as `PPO w/ AVA-p`."""
    model: str
    """The name of the reward models' line."""
    kind: str
    """best_of_n or ppo."""
    points: Sequence[CoursePoint]


def courses_of(
    config: AvaReportConfig, evaluations: Mapping[str, Any], start_scores: Mapping[str, Path]
) -> list[Course]:
    """Return the course of every line that a reward model picked or trained.

    Args:
        config: The report's; the judge is its first one.
        evaluations: Of the entries and of the snapshots, by name.
        start_scores: Folders of the start's samples as the judge and the reward models scored them,
            by their names; without the judge's there is no course.
    """
    judge = config.judges[0]
    if judge not in start_scores:
        return []
    scores = {name: _read(folder) for name, folder in start_scores.items()}
    models = {_arm(one): one for one in config.rewards if one.name in scores}
    start = next(one for one in config.entries if one.kind == "start")
    base = _means(evaluations[start.name], judge)
    found = []
    for line in lines_of(one for one in config.entries if _arm(one) in models):
        if line.first.kind not in ("best_of_n", "ppo"):
            continue
        by_seed = []
        for entry in line.entries:
            proxy = scores[models[_arm(entry)].name]
            if entry.kind == "best_of_n":
                by_seed.append(list(_of_best(proxy, scores[judge], entry.responses or 1)))
            else:
                way = [one for one in config.snapshots if _arm(one) == _arm(entry)]
                known = {one.name: evaluations[one.name] for one in (*way, entry)}
                by_seed.append(list(_of_ppo(known, proxy, base, judge)))
        points = _over_seeds(by_seed)
        if len(points) > 1:
            model = models[_arm(line.first)].line
            found.append(Course(line.name, model, line.first.kind, points))
    return found


def expected_best(proxy: np.ndarray, values: np.ndarray, n: int) -> float:
    """Return what the sample with the highest proxy among n is worth, over all choices of n.

    Args:
        proxy: What picks. Shape (M,).
        values: What the samples are worth. Shape (M,).
        n: How many are picked from, from 1 to M.

    Example:
        Of 1, 2 and 3 the best of two is 2 once and 3 twice:

        >>> samples = np.array([3.0, 1.0, 2.0])
        >>> round(expected_best(samples, samples, 2), 4)
        2.6667
    """
    _, place = np.unique(proxy, return_inverse=True)
    # Samples that the proxy cannot tell apart are worth their mean.
    level = np.bincount(place, values) / np.bincount(place)
    order = np.sort(place)
    weights = np.array([comb(below, n - 1) for below in range(len(proxy))], dtype=float)
    return float(weights @ level[order] / comb(len(proxy), n))


def course_plot(courses: Sequence[Course], judge: str, folder: Path) -> Plot:
    """Draw proxy and judge against KL, a colour for each reward model."""
    models = list(dict.fromkeys(one.model for one in courses))
    panels = {"proxy": "its own reward model, deviations", "judge": f"{judge}, reward"}
    with style.new_figure(panels, panel=(5.6, 3.1), columns=1) as (figure, both):
        for axes, (what, label) in zip(both, panels.items(), strict=True):
            axes.axhline(0, color=style.GREY, linestyle=":", linewidth=1)
            for course in courses:
                number = models.index(course.model)
                style.trajectory(
                    axes,
                    [point.kl for point in course.points],
                    [getattr(point, what) for point in course.points],
                    label=course.line,
                    colour=style.COLOURS[number % len(style.COLOURS)],
                    marker=style.MARKERS[number % len(style.MARKERS)],
                    dash=_DASHES[course.kind],
                )
            axes.set(ylabel=f"{label} over start")
        both[-1].set_xlabel("KL(policy ‖ start), nats per response (bars: one standard error)")
        style.shared_legend(figure, both)
        rows = [
            {"line": course.line, "step": point.step, **_columns(point)}
            for course in courses
            for point in course.points
        ]
        files = style.save_figure(figure, folder, "reward-hacking", rows)
    caption = (
        "Above what the reward model gains that picks (best of N, filled) or trains (PPO, hollow), "
        "in standard deviations of its scores of the start's samples; below what the judge gains "
        "by the same policies. A reward model is hacked where the upper line goes on rising and "
        "the lower one falls. Best-of-N is read off the same samples for each N; means over seeds."
    )
    return Plot("Reward hacking: proxy and judge over KL", files, caption)


def _of_best(proxy: Scores, judge: Scores, most: int) -> Iterator[CoursePoint]:
    spread = _spread(proxy)
    for n in (*(2**power for power in range(most.bit_length()) if 2**power < most), most):
        picked = [
            [expected_best(own, values, n) - values.mean() for values in (own, judge[key])]
            for key, own in proxy.items()
        ]
        gains = np.array(picked) / [spread, 1.0]
        kl = Estimate(best_of_n_kl(n), 0.0, len(gains))
        yield CoursePoint(n, kl, *map(mean_estimate, gains.T))


def _of_ppo(
    snapshots: Mapping[str, Any], proxy: Scores, base: Mapping[str, float], judge: str
) -> Iterator[CoursePoint]:
    yield CoursePoint(0, _NOTHING, _NOTHING, _NOTHING)
    spread = _spread(proxy)
    for step, found in enumerate(snapshots.values(), start=1):
        if "kl" not in found:
            continue
        own, judged = _means(found, OWN), _means(found, judge)
        yield CoursePoint(
            step,
            Estimate(**found["kl"]),
            mean_estimate([(own[key] - proxy[key].mean()) / spread for key in own if key in proxy]),
            mean_estimate([judged[key] - base[key] for key in judged if key in base]),
        )


def _over_seeds(by_seed: Sequence[Sequence[CoursePoint]]) -> list[CoursePoint]:
    """Return the means of the points that every seed has."""
    return [
        CoursePoint(
            alike[0].step,
            over_seeds([one.kl for one in alike]),
            over_seeds([one.proxy for one in alike]),
            over_seeds([one.judge for one in alike]),
        )
        for alike in zip(*by_seed, strict=False)
    ]


def _arm(entry: Any) -> tuple[str, str, int]:
    return entry.objective, entry.data, entry.seed


def _read(folder: Path) -> dict[str, np.ndarray]:
    return {group.id: np.array(scores_of(group)) for group in read_groups(folder)}


def _means(evaluation: Mapping[str, Any], judge: str) -> dict[str, float]:
    rows = evaluation["per_prompt"].items()
    return {key: float(np.mean(row["scores"][judge])) for key, row in rows}


def _spread(scores: Scores) -> float:
    """The deviation of all scores; 1 where all are equal."""
    return float(np.std(np.concatenate(list(scores.values())))) or 1.0


def _columns(point: CoursePoint) -> dict[str, object]:
    estimates = {"kl": point.kl, "proxy": point.proxy, "judge": point.judge}
    found: dict[str, object] = {}
    for name, one in estimates.items():
        found |= {name: one.value, f"{name}_se": one.standard_error}
    return found
