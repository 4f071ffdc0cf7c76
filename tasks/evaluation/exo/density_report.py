"""What a report says of density ratios: Figures 3 and 9, their table, and what may be read off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.evaluation.exo.comparisons import Comparison
from tasks.evaluation.exo.density import optimum
from tasks.evaluation.exo.plots import DASHES
from tasks.evaluation.exo.tables import shown_estimate
from tasks.evaluation.metrics.density_ratio import LEAST_EFFECTIVE
from tasks.evaluation.metrics.estimates import Estimate, mean_estimate
from tasks.evaluation.report.document import Plot
from tasks.evaluation.report.figure_style import GREY, new_figure, save_figure, shared_legend
from tasks.evaluation.report.tables import Column, Table

Density = Mapping[str, Any]
"""What `density.json` holds, with the report's names for the policies."""


def density_plots(density: Density, colours: Mapping[str, str], output: Path) -> list[Plot]:
    """Draw Figure 3, and Figure 9 where there are several prompts, with what they may not say."""
    caption = (
        "Densities over the log-probability under the start, by self-normalised importance "
        "sampling and a Gaussian kernel whose width in nats stands under each panel."
    )
    caption = " ".join([caption, *_warnings(density)])
    prompts = density["prompts"]
    first = _draw(density, prompts[:1], colours, output, name="figure-3")
    found = [Plot("Figure 3: density ratio to the start", first, caption)]
    if len(prompts) > 1:
        every = _draw(density, prompts, colours, output, name="figure-9")
        found.append(Plot("Figure 9: density ratio, all prompts", every, caption))
    return found


def density_table(density: Density) -> Table:
    """Lay out how far each learned density ratio is from that of its optimum."""
    names = ("Policy", "β", "KL(π‖π*)", "KL(π*‖π)", "Density KL", "Effective M", "M of the optimum")
    keys = ("reverse_kl", "forward_kl", "density_kl", "effective_samples")
    rows = []
    for name, one in density["summary"].items():
        worth = one["optimal_effective_samples"]["value"]
        optimal = f"{worth:.1f} of {_drawn(density):g}"
        mark = "" if _suffices(worth, density) else " – too few"
        cells = (shown_estimate(Estimate(**one[key]), ".2f") for key in keys)
        rows.append((name, density["betas"][name], *cells, optimal + mark))
    note = (
        "π* is π_sft · exp(reward / β) with the β that the policy's own method aims at – of a "
        "method that aims at none, the first branch's –, under the "
        f"first judge's reward. Nats, means over {len(density['prompts'])} prompts, "
        "on samples of the start reweighted to each policy; the last KL is KL(π‖π*) between "
        "the kernel densities over log π_sft(y|x). Effective M: how many equally weighted samples "
        "the weights are worth."
    )
    note = " ".join([note, *_warnings(density)])
    columns = tuple(Column(name, "g" if name == "β" else "") for name in names)
    title = "Distance from the optimal policy (Figures 3 and 9)"
    return Table("density-ratio", title, columns, tuple(rows), note)


def density_findings(density: Density, comparisons: Sequence[Comparison]) -> list[str]:
    """Say which of two rivals is nearer to its optimum, where the samples can tell."""
    rivals = [one for one in comparisons if one.kind == "rival"]
    fits = [_fit(density, one.ours, one.theirs) for one in rivals]
    return [*_warnings(density), *(sentence for sentence in fits if sentence)]


def _fit(density: Density, ours: str, theirs: str) -> str | None:
    """Compare two policies; None where one was not measured or nothing can be read off."""
    summary = density["summary"]
    if not {ours, theirs} <= summary.keys():
        return None
    worths = [
        summary[name][figure]["value"]
        for name in (ours, theirs)
        for figure in ("effective_samples", "optimal_effective_samples")
    ]
    if not all(_suffices(worth, density) for worth in worths):
        return None
    gaps = [
        one["distances"][ours]["density_kl"] - one["distances"][theirs]["density_kl"]
        for one in density["prompts"]
    ]
    change = mean_estimate(gaps)
    low, high = (change.value + side * 1.96 * change.standard_error for side in (-1, 1))
    is_open = len(gaps) < 2 or low <= 0 <= high
    words = "undecided" if is_open else "nearer" if high < 0 else "farther"
    return (
        f"density ratio over {len(gaps)} prompts: KL of {ours} to the optimum of its β minus that "
        f"of {theirs} is {change.value:+.3f} nats (95 %: {low:+.3f} to {high:+.3f}): "
        + (words if words == "undecided" else f"{ours} is {words}")
    )


def _warnings(density: Density) -> Iterator[str]:
    """Name the optima and the policies that too few samples stand for."""
    found: dict[str, float] = {}
    for name, one in density["summary"].items():
        found[optimum(density["betas"][name])] = one["optimal_effective_samples"]["value"]
        found[name] = one["effective_samples"]["value"]
    short = {name: worth for name, worth in found.items() if not _suffices(worth, density)}
    if short:
        listed = "; ".join(f"{name}: {worth:.1f}" for name, worth in short.items())
        yield (
            f"Nothing can be read off these density ratios, whose weights are worth less than "
            f"{LEAST_EFFECTIVE:.0%} of their {_drawn(density):g} samples: {listed}. Take a larger "
            "evaluation.density.beta, or more evaluation.density.samples."
        )


def _suffices(worth: float, density: Density) -> bool:
    return worth >= LEAST_EFFECTIVE * _drawn(density)


def _drawn(density: Density) -> float:
    """Return the samples per prompt, M, a mean where prompts have unequal numbers."""
    return mean_estimate([one["samples"] for one in density["prompts"]]).value


def _draw(
    density: Density,
    prompts: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    folder: Path,
    *,
    name: str,
) -> list[Path]:
    """Draw the density ratio to the start over log π_sft(y|x), a panel a prompt."""
    optima = list(dict.fromkeys(map(optimum, density["betas"].values())))
    titles = {f"{row}": one for row, one in enumerate(prompts)}
    with new_figure(titles, panel=(3.5, 2.7), columns=3) as (figure, panels):
        for axes, one in zip(panels, prompts, strict=True):
            for place, best in enumerate(optima):
                dash = DASHES[1 + place % (len(DASHES) - 1)]
                axes.plot(one["grid"], one["ratios"][best], dash, color="#000000", label=best)
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


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 46 else flat[:44].rstrip() + " …"
