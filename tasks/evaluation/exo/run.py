"""The evaluations of an EXO run, sorted into series, points and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from statistics import fmean
from typing import Any

from tasks.evaluation.exo.comparisons import Comparison, compare_series
from tasks.evaluation.exo.config import ExoReportConfig
from tasks.evaluation.exo.frontier import Frontier, FrontierPoint
from tasks.evaluation.exo.points import frontier_points
from tasks.evaluation.exo.series import KINDS, series_of

Evaluations = Mapping[str, Any]


class ExoRun:
    """The evaluations of a run, and the series, points and comparisons made of them."""

    def __init__(
        self,
        evaluations: Evaluations,
        reward_models: Evaluations,
        density: Mapping[str, Any] | None,
        config: ExoReportConfig,
    ) -> None:
        """Take the contents of evaluation.json, by entry and model name, and of density.json.

        Raises:
            ConfigError: An entry has no evaluation or no KL, or a judge did not score it.
        """
        self.evaluations, self.reward_models, self.config = evaluations, reward_models, config
        self.series = series_of(config.entries, config.methods)
        self.opponents = [one for one in config.entries if one.kind in ("start", "chosen")]
        self.opponents.sort(key=lambda one: one.kind != "start")
        self.density = density and _renamed(density, self.names)
        self.judges = list(dict.fromkeys([config.judge, config.reward_model or config.judge]))
        self.points: dict[str, tuple[FrontierPoint, list[FrontierPoint]]] = {}
        for judge in self.judges:
            points, start = frontier_points(self.series, self.opponents[0], evaluations, judge)
            self.points[judge] = (start, points)

    @property
    def names(self) -> dict[str, str]:
        """What the report calls the entries, by their evaluations' names."""
        return {one.name: series.name for series in self.series for one in series.entries}

    @property
    def all_judges(self) -> list[str]:
        """Everybody who scored every entry, those of the report first."""
        scored = [one["scores"].keys() for one in self.evaluations.values()]
        others = sorted(set.intersection(*map(set, scored)) - set(self.judges))
        return [*self.judges, *others]

    @property
    def start(self) -> FrontierPoint:
        """The start under the first judge."""
        return self.points[self.config.judge][0]

    @property
    def ended(self) -> dict[str, float]:
        """Share of answers that end by themselves: of the start and of every line's last ones."""
        ends = {KINDS["start"]: self.opponents[:1]} | {one.name: one.last for one in self.series}
        return {
            name: fmean(self.evaluations[one.name]["habits"]["ended"] for one in found)
            for name, found in ends.items()
        }

    @cached_property
    def by_name(self) -> dict[str, FrontierPoint]:
        """The checkpoints under the first judge, by entry name."""
        return {point.name: point for point in self.points[self.config.judge][1]}

    @cached_property
    def frontier(self) -> Frontier:
        """The points under the first judge, resampled."""
        resamples = self.config.bootstrap_samples
        start, points = self.points[self.config.judge]
        return Frontier(points, start, resamples=resamples)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The comparisons at equal KL."""
        return compare_series(self.series, self.frontier)


def _renamed(density: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return density.json with the report's names for the policies."""

    def rename(by_policy: Mapping[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): value for name, value in by_policy.items()}

    prompts = [
        {**one, "ratios": rename(one["ratios"]), "distances": rename(one["distances"])}
        for one in density["prompts"]
    ]
    kept = {key: rename(density[key]) for key in ("betas", "summary")}
    return {**kept, "prompts": prompts}
