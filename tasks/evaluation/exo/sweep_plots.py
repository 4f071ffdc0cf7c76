"""The plots of an EXO run that show its coefficients and its densities: β sweeps and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.evaluation.metrics.density_ratio import OPTIMAL
from tasks.evaluation.report.figure_style import (
    COLOURS,
    GREY,
    MARKERS,
    new_figure,
    save_figure,
    shared_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.evaluation.exo.points import Shares
    from tasks.evaluation.metrics.estimates import Estimate


def sweep_plot(
    sweeps: Mapping[str, Mapping[float, Mapping[str, Shares]]], judge: str, folder: Path
) -> list[Path]:
    """Draw win rate against β (Figure 6), one panel per coefficient of a family.

    Args:
        sweeps: title -> β -> opponent -> how the line with that β fares.
        judge: who decides.
        folder: where figure-6.png, .svg and .csv go.

    Returns:
        The three paths, PNG first.
    """
    rows: list[dict[str, object]] = []
    with new_figure(sweeps, panel=(3.6, 3.0), columns=3) as (figure, panels):
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
        shared_legend(figure, panels)
        return save_figure(figure, folder, "figure-6", rows)


def density_plot(
    prompts: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    folder: Path,
    *,
    name: str,
) -> list[Path]:
    """Draw the density ratio to the start over log π_sft(y|x) (Figures 3 and 9).

    Args:
        prompts: those of density.json, a panel each.
        colours: of each policy, as in the other plots.
        folder: where NAME.png, NAME.svg and NAME.csv go.
        name: the files' stem.

    Returns:
        The three paths, PNG first.
    """
    titles = {f"{row}": one for row, one in enumerate(prompts)}
    with new_figure(titles, panel=(3.5, 2.7), columns=3) as (figure, panels):
        for axes, one in zip(panels, prompts, strict=True):
            axes.plot(one["grid"], one["ratios"][OPTIMAL], "--", color="#000000", label=OPTIMAL)
            for policy in one["distances"]:
                colour = colours.get(policy, GREY)
                axes.plot(one["grid"], one["ratios"][policy], color=colour, label=policy)
            axes.axhline(1, color=GREY, linestyle=":", linewidth=1, zorder=1)
            axes.set_title(_short(one["prompt"]), fontsize=8)
            axes.set_xlabel(f"log π_sft(y|x), nats (kernel {one['bandwidth']:.2g})", fontsize=8)
            axes.set_ylabel("density ratio")
        shared_legend(figure, panels)
        rows = [
            {"id": one["id"], "policy": policy, "start_logp": place, "ratio": value}
            for one in prompts
            for policy, ratio in one["ratios"].items()
            for place, value in zip(one["grid"], ratio, strict=True)
        ]
        return save_figure(figure, folder, name, rows)


def _errorbar(axes: Axes, label: str, index: int, values: Mapping[float, Estimate]) -> None:
    axes.errorbar(
        range(len(values)),
        [100 * one.value for one in values.values()],
        yerr=[100 * one.standard_error for one in values.values()],
        label=label,
        color=COLOURS[index],
        marker=MARKERS[index],
        markersize=4,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 46 else line[:44].rstrip() + " …"
