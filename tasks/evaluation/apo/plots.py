"""The plots of an APO run: scores per epoch, and the state of the game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.evaluation.report import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.apo.game import GameState
    from tasks.evaluation.metrics.estimates import Estimate


def score_per_epoch(
    scores: Mapping[str, Mapping[str, Mapping[int, Estimate]]],
    folder: Path,
    *,
    name: str = "figure-5",
) -> list[Path]:
    """Draw the average score per epoch (the paper's Figure 5), one panel per scorer.

    The scores are by scorer, method and epoch; epoch 0 is the start.
    """
    methods = list(dict.fromkeys(method for lines in scores.values() for method in lines))
    with style.new_figure(scores, panel=(3.4, 3.0), columns=3) as (figure, panels):
        for axes, (scorer, lines) in zip(panels, scores.items(), strict=True):
            for method, points in lines.items():
                _line(axes, method, methods.index(method), points)
            axes.set_title(f"average {scorer} score")
            axes.set_xlabel("epoch (bars: 95 %)")
        style.shared_legend(figure, panels)
        rows = [
            {"scorer": scorer, "method": method, "epoch": epoch, **asdict(point)}
            for scorer, lines in scores.items()
            for method, points in lines.items()
            for epoch, point in sorted(points.items())
        ]
        return style.save_figure(figure, folder, name, rows)


def game_plot(
    games: Mapping[str, Sequence[GameState]], folder: Path, *, name: str = "game"
) -> list[Path]:
    """Draw the state of the game per epoch and player: who tells what apart, by what, how well."""
    from tasks.evaluation.metrics.estimates import Estimate

    views = {
        "gold against fresh samples: accuracy": ("gold_accuracy", "gold_accuracy_se"),
        "human pairs: accuracy": ("human_accuracy", "human_accuracy_se"),
        "reward of gold minus sample": ("margin", "margin_se"),
        "human pairs: calibration error": ("ece", None),
        "length–reward correlation": ("length_correlation", None),
        "gold is the longer: share": ("longer_is_gold", None),
    }
    with style.new_figure(views, panel=(3.3, 2.7), columns=3) as (figure, panels):
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
                axes.axhline(0.5, color=style.GREY, linestyle=":", linewidth=1, zorder=1)
                axes.set_ylim(min(0.45, axes.get_ylim()[0]), 1.03)
            axes.set_title(title)
            axes.set_xlabel("epoch (bars: 95 %)" if error else "epoch")
        style.shared_legend(figure, panels)
        rows = [
            {"player": player, **asdict(state)}
            for player, states in games.items()
            for state in states
        ]
        return style.save_figure(figure, folder, name, rows)


def _line(axes: Axes, label: str, index: int, points: Mapping[int, Estimate]) -> None:
    """One line of estimates with bars of 1.96 standard errors; always the same look per index."""
    from matplotlib.ticker import MaxNLocator

    epochs = sorted(points)
    axes.errorbar(
        [epoch + 0.03 * index for epoch in epochs],  # beside each other, so that every bar shows
        [points[epoch].value for epoch in epochs],
        yerr=[1.96 * points[epoch].standard_error for epoch in epochs],
        label=label,
        color=style.COLOURS[index % len(style.COLOURS)],
        marker=style.MARKERS[index % len(style.MARKERS)],
        markersize=4,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
