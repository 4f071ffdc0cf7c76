"""The two pictures that a report begins with, small enough for a phone: score, and reward by KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tasks.evaluation.report import figure_style as style
from tasks.evaluation.report.document import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.metrics.estimates import Estimate, Interval

_PANEL = (4.4, 3.1)
"""Inches; on a phone of 390 pixels letters stay readable."""
_Z = 1.96


class Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    """As #RRGGBB."""
    marker: str
    """One of matplotlib's letters."""
    dash: str
    """A line style of matplotlib's."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One policy on the way of a line."""

    step: int
    """Its epoch, or its optimiser steps; 0 is the start."""
    reward: Estimate
    """Its mean reward by the judge."""
    kl: Estimate | None
    """KL to the start, nats per response; None where it was not measured."""


def course_pictures(
    lines: Mapping[str, Sequence[Stop]],
    judge: str,
    along: str,
    folder: Path,
    looks: Mapping[str, Look] | None = None,
) -> list[Plot]:
    """Draw the reward of lines by step and by KL.

    Args:
        lines: The stops of each line in order, the start first; at least one line.
        judge: Whose rewards they are.
        along: What a step is: `epoch`, `step`.
        folder: Where the files go.
        looks: How lines are drawn that have a look in other plots too.

    Returns:
        Two plots; one where no KL was measured.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = looks or default_looks(list(lines))
    with style.new_figure({"": lines}, panel=_PANEL, columns=1) as (figure, (axes,)):
        for name, stops in lines.items():
            _line(axes, name, [float(one.step) for one in stops], stops, drawn[name])
        axes.set(xlabel=along, ylabel=f"{judge} reward")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.shared_legend(figure, [axes])
        files = style.save_figure(figure, folder, "score", _rows(lines))
    caption = f"Mean {judge} reward of the answers to the test prompts; bars are 95 % intervals."
    found = [Plot(f"Score by {along}", files, caption)]
    reward_by_kl = kl_picture(lines, judge, folder, drawn)
    return [*found, *([reward_by_kl] if reward_by_kl else [])]


def kl_picture(
    lines: Mapping[str, Sequence[Stop]], judge: str, folder: Path, looks: Mapping[str, Look]
) -> Plot | None:
    """Draw reward by KL to the start; None where no KL was measured."""
    measured = {name: [one for one in stops if one.kl] for name, stops in lines.items()}
    measured = {name: stops for name, stops in measured.items() if stops}
    if not measured:
        return None
    with style.new_figure({"": measured}, panel=_PANEL, columns=1) as (figure, (axes,)):
        for name, stops in measured.items():
            _line(axes, name, [one.kl.value for one in stops if one.kl], stops, looks[name])
        axes.set(xlabel="KL to the start, nats per response", ylabel=f"{judge} reward")
        style.shared_legend(figure, [axes])
        files = style.save_figure(figure, folder, "reward-by-kl", _rows(measured))
    caption = "More reward at less KL is better; bars are 95 % intervals of the reward."
    return Plot("Reward by KL", files, caption)


def interval_picture(
    rows: Mapping[str, tuple[float, Interval]],
    title: str,
    label: str,
    caption: str,
    folder: Path,
) -> Plot:
    """Draw values with their 95 % intervals below each other, the first one on top.

    Args:
        rows: Value and interval by name; at least one.
        title: The plot's.
        label: What the values are.
        caption: What is said below.
        folder: Where the files go.
    """
    panel = (_PANEL[0], 0.9 + 0.3 * len(rows))
    with style.new_figure({"": rows}, panel=panel, columns=1) as (figure, (axes,)):
        places = range(len(rows), 0, -1)
        for place, (value, ends) in zip(places, rows.values(), strict=True):
            axes.plot([ends.low, ends.high], [place, place], color=style.COLOURS[0], linewidth=1.5)
            axes.plot([value], [place], "o", color=style.COLOURS[0], markersize=5)
        axes.set_yticks(list(places), [_short(name) for name in rows])
        axes.set(xlabel=label, ylim=(0.4, len(rows) + 0.6))
        table = [
            {"name": name, "value": value, "low": ends.low, "high": ends.high}
            for name, (value, ends) in rows.items()
        ]
        return Plot(title, style.save_figure(figure, folder, "score", table), caption)


def default_looks(names: Sequence[str]) -> dict[str, Look]:
    """Return a look for each line by its place."""
    return {
        name: Look(
            style.COLOURS[number % len(style.COLOURS)],
            style.MARKERS[number % len(style.MARKERS)],
            "-" if number < len(style.COLOURS) else "--",
        )
        for number, name in enumerate(names)
    }


def _line(
    axes: Axes, label: str, across: Sequence[float], stops: Sequence[Stop], look: Look
) -> None:
    axes.errorbar(
        across,
        [one.reward.value for one in stops],
        yerr=[_Z * one.reward.standard_error for one in stops],
        label=_short(label),
        color=look.colour,
        marker=look.marker,
        linestyle=look.dash,
        markersize=4,
        linewidth=1.4,
        elinewidth=0.9,
        capsize=2,
    )


def _rows(lines: Mapping[str, Sequence[Stop]]) -> list[dict[str, object]]:
    return [
        {
            "line": name,
            "step": one.step,
            "kl": one.kl.value if one.kl else None,
            **asdict(one.reward),
        }
        for name, stops in lines.items()
        for one in stops
    ]


def _short(text: str) -> str:
    return text if len(text) <= 36 else text[:34].rstrip() + " …"
