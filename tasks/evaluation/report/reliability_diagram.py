"""A reward model's reliability diagram: predicted against observed preference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.evaluation.report import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.metrics.calibration import CalibrationReport


def reliability_diagram(
    reports: Mapping[str, CalibrationReport], folder: Path, *, name: str = "reliability"
) -> list[Path]:
    """Draw predicted against observed preference, one panel per reward model."""
    with style.new_figure(reports, panel=(2.8, 3.2), columns=3) as (figure, panels):
        for axes, (title, report) in zip(panels, reports.items(), strict=True):
            _reliability_panel(axes, title, report)
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("observed share")
        style.shared_legend(figure, panels)
        rows = [
            {"reward_model": title, **asdict(bin_)}
            for title, report in reports.items()
            for bin_ in report.bins
        ]
        return style.save_figure(figure, folder, name, rows)


def _reliability_panel(axes: Axes, title: str, report: CalibrationReport) -> None:
    bins = [bin_ for bin_ in report.bins if bin_.count]
    most = max((bin_.count for bin_ in bins), default=1)
    axes.plot([0, 1], [0, 1], ":", color=style.GREY, linewidth=1, label="perfectly calibrated")
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
        color=style.COLOURS[0],
        marker="o",
        markersize=4,
        linewidth=1.5,
        clip_on=False,
        label="this reward model",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set_title(f"{title}\nECE {report.ece:.3f}, {report.pairs} pairs")
