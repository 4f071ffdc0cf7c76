"""Sweeps: how often the series that differ in one coefficient alone win, and Figure 6 of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.points import Shares, shares_against
from tasks.evaluation.exo.series import KINDS, Series
from tasks.evaluation.report import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.metrics.estimates import Estimate

Sweep = dict[float, dict[str, Shares]]
"""The coefficient's value -> opponent -> how often the last checkpoints win."""


def sweeps_of(
    all_series: Sequence[Series],
    opponents: Sequence[ExoEntry],
    evaluations: Mapping[str, Any],
    judge: str,
) -> dict[str, Sweep]:
    """Return the win rates along every coefficient that was varied, the other held.

    They are named such as `EXO-rw K=4: β_π (β_r = 0.1)`; a single value is no sweep.
    """
    groups: dict[str, list[tuple[float, Series]]] = {}
    for series in all_series:
        symbols, values = series.facts.symbols, series.first.coefficients
        for key, value in values.items():
            held = [f"{symbols[other]} = {values[other]:g}" for other in values if other != key]
            title = f"{series.family}: {symbols[key]}"
            title += f" ({', '.join(held)})" if held else ""
            groups.setdefault(title, []).append((value, series))
    return {
        title: {value: _against(series, opponents, evaluations, judge) for value, series in found}
        for title, found in groups.items()
        if len(found) > 1
    }


def _against(
    series: Series, opponents: Sequence[ExoEntry], evaluations: Mapping[str, Any], judge: str
) -> dict[str, Shares]:
    return {
        KINDS[rival.kind]: shares_against(series.last, rival, evaluations, judge)
        for rival in opponents
    }


def sweep_plot(sweeps: Mapping[str, Sweep], judge: str, folder: Path) -> list[Path]:
    """Draw win rate against β (Figure 6), one panel per coefficient of a family."""
    rows: list[dict[str, object]] = []
    with style.new_figure(sweeps, panel=(3.6, 3.0), columns=3) as (figure, panels):
        for axes, (title, by_beta) in zip(panels, sweeps.items(), strict=True):
            for index, opponent in enumerate(next(iter(by_beta.values()))):
                wins = {beta: shares[opponent].win for beta, shares in sorted(by_beta.items())}
                _errorbar(axes, f"vs {opponent}", index, wins)
                rows += [
                    {
                        "sweep": title,
                        "beta": beta,
                        "opponent": opponent,
                        "win": win.value,
                        "standard_error": win.standard_error,
                        "lose": by_beta[beta][opponent].lose.value,
                    }
                    for beta, win in wins.items()
                ]
            axes.set(title=title, xlabel="β", ylabel=f"{judge} win rate (%)")
            axes.set_xticks(range(len(by_beta)), [f"{beta:g}" for beta in sorted(by_beta)])
        style.shared_legend(figure, panels)
        return style.save_figure(figure, folder, "figure-6", rows)


def _errorbar(axes: Axes, label: str, index: int, values: Mapping[float, Estimate]) -> None:
    axes.errorbar(
        range(len(values)),
        [100 * one.value for one in values.values()],
        yerr=[100 * one.standard_error for one in values.values()],
        label=label,
        color=style.COLOURS[index],
        marker=style.MARKERS[index],
        markersize=4,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
    )
