"""The plots of an EXO run that show its checkpoints: frontiers, and reward against step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.evaluation.exo.frontier import pareto
from tasks.evaluation.exo.series import Series
from tasks.evaluation.metrics.estimates import over_seeds
from tasks.evaluation.report import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.exo.frontier import FrontierPoint

    Points = Sequence[FrontierPoint]

# Black is left to best-of-N, which is no trained method. Of methods that name no colour.
PALETTE = (*style.COLOURS[:-1], "#882255", "#999933", "#44AA99")
SHAPES = style.MARKERS + "<>p"
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn, in every plot alike."""

    colour: str
    """The colour of its method; lighter for further families."""
    marker: str
    """The marker of its family."""
    dash: str
    """The line style of its β within the family."""


def looks(all_series: Sequence[Series]) -> dict[str, Look]:
    """Give every series a look: a colour per method, a marker per family, a line style per β in it.

    A further family of a method, another K say, is drawn lighter.
    """
    families: dict[str, list[str]] = {}
    for series in all_series:
        known = families.setdefault(series.first.method, [])
        if series.family not in known:
            known.append(series.family)
    taken = {series.facts.colour for series in all_series}
    free = cycle([colour for colour in PALETTE if colour not in taken] or PALETTE)
    colours = {
        series.first.method: series.facts.colour or next(free)
        for series in {series.first.method: series for series in all_series}.values()
    }
    found = {}
    for series in all_series:
        method, number = series.first.method, families[series.first.method].index(series.family)
        marker = series.facts.marker or SHAPES[list(colours).index(method) % len(SHAPES)]
        if number:
            marker = SHAPES[(SHAPES.find(marker) + number) % len(SHAPES)]
        variants = [other.name for other in all_series if other.family == series.family]
        # What is no trained policy is never drawn as one.
        place = variants.index(series.name) + (not series.is_trained)
        dash = DASHES[place % len(DASHES)]
        found[series.name] = Look(_lighter(colours[method], number), marker, dash)
    return found


def _lighter(colour: str, times: int) -> str:
    """Return a colour of the form #RRGGBB mixed with white, the more the more often."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    share = 0.6**times
    return "#" + "".join(f"{round(share * part + (1 - share) * 255):02X}" for part in parts)


def frontier_plot(
    all_series: Sequence[Series],
    judged: Mapping[str, tuple[FrontierPoint, Points]],
    folder: Path,
    *,
    value: str = "reward",
    name: str = "figure-2",
) -> list[Path]:
    """Draw reward (Figure 2) or accuracy (Figure 7) against KL, one point per checkpoint.

    By judge, a panel each, it takes the start and the points of all series.
    """
    drawn = looks(all_series)
    with style.new_figure(judged, panel=(5.6, 4.2), columns=2) as (figure, panels):
        for axes, (judge, (start, points)) in zip(panels, judged.items(), strict=True):
            place = getattr(start, value).value
            axes.plot(0, place, "*", color=style.GREY, markersize=11, label=start.series, zorder=4)
            for series in all_series:
                _trajectories(axes, series, drawn[series.name], points, value)
            axes.set_xlabel("KL(policy ‖ start), nats per response (bars: one standard error)")
            label = f"{judge} reward" if value == "reward" else f"accuracy: mean σ({judge} reward)"
            axes.set_ylabel(label)
        style.shared_legend(figure, panels)
        rows = [
            _row(judge, point, undominated)
            for judge, (start, points) in judged.items()
            for undominated in [{one.name for one in pareto(points)}]
            for point in [start, *points]
        ]
        return style.save_figure(figure, folder, name, rows)


def step_plot(
    all_series: Sequence[Series], start: FrontierPoint, points: Points, judge: str, folder: Path
) -> list[Path]:
    """Draw reward against step with the deviation among a prompt's responses (Figure 8).

    Best-of-N has no steps and is left out.
    """
    drawn = looks(all_series)
    trained = [series for series in all_series if series.first.kind == "policy"]
    methods: dict[str, list[Series]] = {}
    for series in trained:
        methods.setdefault(series.title, []).append(series)
    rows: list[dict[str, object]] = []
    with style.new_figure(methods, panel=(3.5, 2.8), columns=3) as (figure, panels):
        for axes, (method, found) in zip(panels, methods.items(), strict=True):
            axes.axhline(
                start.reward.value, color=style.GREY, linestyle=":", linewidth=1, label=start.series
            )
            for series in found:
                means = _by_step(start, [one for one in points if one.series == series.name])
                _band(axes, series.name, drawn[series.name], means)
                rows += [{"method": method, "line": series.name, **one} for one in means]
            axes.set(title=method, xlabel="step", ylabel=f"{judge} reward")
        _share_heights(panels)
        style.shared_legend(figure, panels)
        return style.save_figure(figure, folder, "figure-8", rows)


def _trajectories(axes: Axes, series: Series, look: Look, points: Points, value: str) -> None:
    """Draw the checkpoints of a series, those of a seed connected in the order of their steps."""
    for number, seed in enumerate(series.seeds):
        own = [point for point in points if point.series == series.name and point.seed == seed]
        style.trajectory(
            axes,
            [point.kl for point in own],
            [getattr(point, value) for point in own],
            label=None if number else series.name,
            colour=look.colour,
            marker=look.marker,
            dash=look.dash,
        )


def _by_step(start: FrontierPoint, points: Points) -> list[dict[str, float]]:
    """Return the means at each step over the seeds that were measured there, from the start on."""
    found: dict[int, list[FrontierPoint]] = {0: [start]}
    for point in points:
        found.setdefault(point.step, []).append(point)
    result = []
    for step, here in sorted(found.items()):
        reward = over_seeds([point.reward for point in here])
        result.append(
            {
                "step": step,
                "seeds": len(here),
                "reward": reward.value,
                "standard_error": reward.standard_error,
                "spread": over_seeds([point.spread for point in here]).value,
            }
        )
    return result


def _band(axes: Axes, label: str, look: Look, means: Sequence[Mapping[str, float]]) -> None:
    steps = [one["step"] for one in means]
    low = [one["reward"] - one["spread"] for one in means]
    high = [one["reward"] + one["spread"] for one in means]
    axes.fill_between(steps, low, high, color=look.colour, alpha=0.12, linewidth=0)
    axes.errorbar(
        steps,
        [one["reward"] for one in means],
        yerr=[one["standard_error"] for one in means],
        label=label,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=4,
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
    )


def _share_heights(panels: Sequence[Axes]) -> None:
    """Let all panels show the same rewards, so that they can be compared."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _row(judge: str, point: FrontierPoint, undominated: set[str]) -> dict[str, object]:
    estimates = {
        "kl": point.kl,
        "reward": point.reward,
        "accuracy": point.accuracy,
        "spread": point.spread,
    }
    metrics: dict[str, object] = {}
    for name, one in estimates.items():
        metrics |= {name: one.value, f"{name}_se": one.standard_error}
    return {
        "judge": judge,
        "line": point.series,
        "name": point.name,
        "seed": point.seed,
        "step": point.step,
        **metrics,
        "undominated": int(point.name in undominated),
    }
