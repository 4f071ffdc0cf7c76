"""The plots of the report: each as PNG and SVG with the numbers beside it as CSV.

The same numbers give the same bytes, so that a plot can be an artifact: no dates, no random ids, no
display. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.evaluation.tables import csv_text
from tasks.storage.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tasks.evaluation.calibration import CalibrationReport
    from tasks.evaluation.estimates import Estimate
    from tasks.evaluation.game import GameState

# Okabe and Ito's colours, which stay apart for colour-blind readers; markers carry the same.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GREY = "#6b6b6b"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.hashsalt": "sparring",
    "text.parse_math": False,  # a model may be called "a$b"
}


def reliability_diagram(
    reports: Mapping[str, CalibrationReport], folder: Path, *, name: str = "reliability"
) -> list[Path]:
    """Draw predicted against observed preference, one panel per reward model.

    Args:
        reports: the calibration of each reward model, by the title of its panel. At least one.
        folder: where NAME.png, NAME.svg and NAME.csv go.
        name: the files' stem.

    Returns:
        The three paths, PNG first.
    """
    with _figure(reports, panel=(2.8, 3.2), columns=3) as (figure, panels):
        for axes, (title, report) in zip(panels, reports.items(), strict=True):
            _reliability_panel(axes, title, report)
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("observed share")
        _legend(figure, panels)
        rows = [
            {"reward_model": title, **asdict(bin_)}
            for title, report in reports.items()
            for bin_ in report.bins
        ]
        return _save(figure, folder, name, rows)


def score_per_epoch(
    scores: Mapping[str, Mapping[str, Mapping[int, Estimate]]],
    folder: Path,
    *,
    name: str = "figure-5",
) -> list[Path]:
    """Draw the average score per epoch (the paper's Figure 5), one panel per scorer.

    Args:
        scores: scorer -> method -> epoch -> average score; epoch 0 is the start.
        folder: where NAME.png, NAME.svg and NAME.csv go.
        name: the files' stem.

    Returns:
        The three paths, PNG first.
    """
    methods = list(dict.fromkeys(method for lines in scores.values() for method in lines))
    with _figure(scores, panel=(3.4, 3.0), columns=3) as (figure, panels):
        for axes, (scorer, lines) in zip(panels, scores.items(), strict=True):
            for method, points in lines.items():
                _line(axes, method, methods.index(method), points)
            axes.set_title(f"average {scorer} score")
            axes.set_xlabel("epoch (bars: 95 %)")
        _legend(figure, panels)
        rows = [
            {"scorer": scorer, "method": method, "epoch": epoch, **asdict(point)}
            for scorer, lines in scores.items()
            for method, points in lines.items()
            for epoch, point in sorted(points.items())
        ]
        return _save(figure, folder, name, rows)


def game_plot(
    games: Mapping[str, Sequence[GameState]], folder: Path, *, name: str = "game"
) -> list[Path]:
    """Draw the state of the game per epoch: who still tells what apart, by what, and how surely.

    Args:
        games: the states of each player (say the adapted and the fixed reward model), by name.
        folder: where NAME.png, NAME.svg and NAME.csv go.
        name: the files' stem.

    Returns:
        The three paths, PNG first.
    """
    from tasks.evaluation.estimates import Estimate

    views = {
        "gold against fresh samples: accuracy": ("gold_accuracy", "gold_accuracy_se"),
        "human pairs: accuracy": ("human_accuracy", "human_accuracy_se"),
        "reward of gold minus sample": ("margin", "margin_se"),
        "human pairs: calibration error": ("ece", None),
        "length–reward correlation": ("length_correlation", None),
        "gold is the longer: share": ("longer_is_gold", None),
    }
    with _figure(views, panel=(3.3, 2.7), columns=3) as (figure, panels):
        for axes, (title, (value, error)) in zip(panels, views.items(), strict=True):
            for index, (player, states) in enumerate(games.items()):
                points = {
                    state.epoch: Estimate(
                        getattr(state, value), getattr(state, error) if error else 0.0, 0
                    )
                    for state in states
                }
                _line(axes, player, index, points)
            if value.endswith(("accuracy", "gold")):
                axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1, zorder=1)
                axes.set_ylim(min(0.45, axes.get_ylim()[0]), 1.03)
            axes.set_title(title)
            axes.set_xlabel("epoch (bars: 95 %)" if error else "epoch")
        _legend(figure, panels)
        rows = [
            {"player": player, **asdict(state)}
            for player, states in games.items()
            for state in states
        ]
        return _save(figure, folder, name, rows)


def _reliability_panel(axes: Axes, title: str, report: CalibrationReport) -> None:
    bins = [bin_ for bin_ in report.bins if bin_.count]
    most = max((bin_.count for bin_ in bins), default=1)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfectly calibrated")
    axes.bar(
        [(bin_.lower + bin_.upper) / 2 for bin_ in bins],
        [0.25 * bin_.count / most for bin_ in bins],
        width=[0.9 * (bin_.upper - bin_.lower) for bin_ in bins],
        color="#d5d5d5",
        label="where predictions fall (not to scale)",
    )
    axes.plot(
        [bin_.confidence for bin_ in bins],
        [bin_.accuracy for bin_ in bins],
        color=COLOURS[0],
        marker="o",
        markersize=4,
        linewidth=1.5,
        clip_on=False,
        label="this reward model",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set_title(f"{title}\nECE {report.ece:.3f}, {report.pairs} pairs")


def _line(axes: Axes, label: str, index: int, points: Mapping[int, Estimate]) -> None:
    """One line of estimates with bars of 1.96 standard errors; always the same look per index."""
    from matplotlib.ticker import MaxNLocator

    epochs = sorted(points)
    axes.errorbar(
        [epoch + 0.03 * index for epoch in epochs],  # beside each other, so that every bar shows
        [points[epoch].value for epoch in epochs],
        yerr=[1.96 * points[epoch].standard_error for epoch in epochs],
        label=label,
        color=COLOURS[index % len(COLOURS)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=4,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, below them, so that it never covers a line."""
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if entries:
        fits = int(figure.get_figwidth() / 2.6)  # an entry is rarely wider than 2.6 inches
        columns = max(1, min(fits, len(entries)))
        extra_rows = -(-len(entries) // columns) - 1
        figure.set_figheight(figure.get_figheight() + 0.22 * extra_rows)
        handles, labels = list(entries.values()), list(entries)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


@contextmanager
def _figure(
    panels: Mapping[str, object], *, panel: tuple[float, float], columns: int
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with a panel per entry, in our style, bound to no display."""
    import matplotlib
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("nothing to draw: expected at least one panel")
    count = len(panels)
    down = -(-count // columns)
    across = -(-count // down)  # as even as it goes: four panels make 2 x 2, not 3 + 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(panel[0] * across, panel[1] * down + 0.4), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for spare in grid[count:]:
            spare.set_axis_off()
        yield figure, list(grid[:count])


def _save(
    figure: Figure, folder: Path, name: str, rows: Sequence[Mapping[str, object]]
) -> list[Path]:
    """Render into memory and let the store write: PNG, SVG and the numbers."""
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg", "csv")]
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=False):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata=metadata)
        write_atomic(path, buffer.getvalue())
    header = list(rows[0]) if rows else []
    write_atomic(paths[2], csv_text(header, [list(row.values()) for row in rows]))
    return paths
