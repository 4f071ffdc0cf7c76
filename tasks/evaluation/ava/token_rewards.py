"""What the report of the flow `ava` says of the rewards of tokens: all diagnoses in one section."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.ava.config import RewardEntry
from tasks.evaluation.ava.diagnosis_report import HEAT_MAP
from tasks.evaluation.ava.reward_numbers import WITHIN
from tasks.evaluation.metrics.rank_correlation import RankCorrelation
from tasks.evaluation.report import figure_style as style
from tasks.evaluation.report.document import Plot, Section
from tasks.evaluation.report.heat_map import HeatMap, shown_pairs
from tasks.evaluation.report.tables import Cell, Column, Table
from tasks.objectives.ava_diagnostics import normal_coverage
from tasks.storage.files import read_json, write_atomic

_SHOWN = 2
"""Examples of a line that the report itself shows; the page beside it has all."""
_VIEWS = {"seen": "x[j]", "next": "x[j+1]"}


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """One reward model with what `diagnose_rewards` found of it."""

    entry: RewardEntry
    """How the report lists the model."""
    numbers: Mapping[str, Any]
    """The diagnosis's own, as its report.json has them."""
    page: str
    """Its heat-map, beside the report."""

    @property
    def correlations(self) -> dict[str, RankCorrelation]:
        """Those with the oracle's penalties, by the token that a reward stands for."""
        found = self.numbers["correlations"].items()
        return {view: RankCorrelation(**one) for view, one in found}

    def cell(self, metric: str, scale: float = 1.0) -> Cell:
        """Return a metric for a table; None where there was nothing to measure."""
        value = self.numbers["metrics"].get(metric)
        return None if value is None else scale * value


def token_section(
    rewards: Sequence[RewardEntry], diagnoses: Mapping[str, Path], output: Path
) -> Section | None:
    """Put the diagnoses together, and the heat-maps' pages beside the report.

    Args:
        rewards: The reward models of the report, in its order.
        diagnoses: Outputs of `diagnose_rewards` by the names of reward models.
        output: The report's folder.

    Returns:
        None without a diagnosis.
    """
    found = [
        _diagnosed(entry, diagnoses[entry.name], output)
        for entry in rewards
        if entry.name in diagnoses
    ]
    if not found:
        return None
    firsts = {one.entry.line: one for one in reversed(found)}
    return Section(
        "Rewards of tokens",
        notes=list(_notes(found)),
        tables=[_numbers_table(found), _beginnings_table(found)],
        plots=[_plot(found, output)],
        heat_maps=[
            HeatMap(
                f"Rewards of tokens by {one.entry.name}",
                shown_pairs(one.numbers["examples"]),
                one.page,
                most=_SHOWN,
            )
            for one in reversed(firsts.values())
        ],
    )


def _diagnosed(entry: RewardEntry, folder: Path, output: Path) -> Diagnosed:
    words = re.findall(r"[a-z0-9]+", entry.name.lower())
    page = f"{Path(HEAT_MAP).stem}-{'-'.join(words)}.html"
    write_atomic(output / page, (folder / HEAT_MAP).read_bytes())
    return Diagnosed(entry, read_json(folder / "report.json")["numbers"], page)


def _notes(found: Sequence[Diagnosed]) -> Iterator[str]:
    """Say of every line in how many of its seeds rewards point at penalised tokens."""
    for line in dict.fromkeys(one.entry.line for one in found):
        seeds = [one.correlations for one in found if one.entry.line == line and one.correlations]
        if seeds:
            counts = " and ".join(
                f"in {sum(one[view].points_at_tokens for one in seeds)} of {len(seeds)} by {token}"
                for view, token in _VIEWS.items()
            )
            yield (
                f"{line}: seeds whose rewards point at the tokens that the oracle penalises, "
                f"beyond 95 % of shuffles within the response: {counts}"
            )


def _numbers_table(found: Sequence[Diagnosed]) -> Table:
    views = [view for view in _VIEWS if all(view in one.correlations for one in found)]
    names = [
        *(
            column
            for view in views
            for column in (
                Column(f"Penalties, {_VIEWS[view]}", "+.3f"),
                Column("shuffled, 95 %"),
            )
        ),
        Column("Size of δ, median", ".3g"),
        Column("5 % to 95 %"),
        *(
            Column(f"Within {k:g} σ ({100 * share:.1f} %)", ".1f")
            for k, share in zip(WITHIN, normal_coverage(WITHIN), strict=True)
        ),
        Column("Floored (%)", ".1f"),
    ]
    rows = []
    for one in found:
        spots: list[Cell] = []
        for view in views:
            spot = one.correlations[view]
            spots += [spot.value, f"{spot.control_low:+.3f} to {spot.control_high:+.3f}"]
        ends = [one.cell(f"td_q{level}") for level in ("05", "95")]
        spread = None if None in ends else " to ".join(f"{end:.3g}" for end in ends)
        shares = (one.cell(f"within_{k:g}_std", 100) for k in WITHIN)
        floored = one.cell("floored_share", 100)
        rows.append((one.entry.name, *spots, one.cell("td_q50"), spread, *shares, floored))
    note = (
        "Penalties: rank correlation of rewards with what the oracle takes for a token, positive "
        "where rewards are low on penalised tokens – x[j] is the last token that the reward has "
        "seen, x[j+1] the next one, which it rewards – beside that of penalties shuffled within "
        "their responses. δ: temporal-difference errors, reward units. Within: share of errors "
        "so near to their reward's mean, in percent; in brackets what a Gaussian that is right "
        "has. Floored: the worse responses' tokens that are less likely than one drawn at random."
    )
    columns = (Column("Reward model"), *names)
    return Table("token-rewards", "Can the rewards be believed?", columns, tuple(rows), note)


def _beginnings_table(found: Sequence[Diagnosed]) -> Table:
    shown = {one["name"]: one["tokens"] for each in found for one in each.numbers["beginnings"]}
    whole = shown.pop("whole")
    names = [*sorted(shown, key=shown.__getitem__), "whole"]
    rows = []
    for each in found:
        known = {one["name"]: one["accuracy"] for one in each.numbers["beginnings"]}
        cells = (
            f"{100 * known[name]['value']:.1f} ± {100 * known[name]['standard_error']:.1f}"
            if name in known
            else None
            for name in names
        )
        rows.append((each.entry.name, *cells))
    columns = tuple(map(Column, ("Reward model", *names)))
    note = (
        "Percent of pairs ranked rightly by so many tokens of each response, scored as a text of "
        "its own; a tie is wrong, ± is one standard error. The longest response has "
        f"{whole} tokens."
    )
    return Table("token-beginnings", "Accuracy on beginnings", columns, tuple(rows), note)


def _plot(found: Sequence[Diagnosed], output: Path) -> Plot:
    """Draw the spreads of rewards and the accuracy on beginnings, a colour for each line."""
    lines = list(dict.fromkeys(one.entry.line for one in found))
    labelled: set[str] = set()
    rows: list[dict[str, object]] = []
    panels = {"spread": None, "accuracy": None}
    with style.new_figure(panels, panel=(5.6, 2.9), columns=1) as (figure, (spread, accuracy)):
        for one in found:
            line, numbers = one.entry.line, one.numbers
            look: dict[str, Any] = {
                "color": style.COLOURS[lines.index(line) % len(style.COLOURS)],
                "label": None if line in labelled else line,
            }
            labelled.add(line)
            counts, edges = numbers["std"]["counts"], numbers["std"]["edges"]
            shares = [100 * count / max(1, sum(counts)) for count in counts]
            spread.stairs(shares, edges, linewidth=1.3, **look)
            known = numbers["beginnings"]
            accuracy.errorbar(
                [start["tokens"] for start in known],
                [100 * start["accuracy"]["value"] for start in known],
                yerr=[196 * start["accuracy"]["standard_error"] for start in known],
                marker="o",
                markersize=4,
                capsize=3,
                **look,
            )
            pairs = zip(edges, shares, strict=False)
            rows += [_row(one, "std", low, share) for low, share in pairs]
            rows += [
                _row(one, "beginning", start["tokens"], 100 * start["accuracy"]["value"])
                for start in known
            ]
        spread.axvline(1, color=style.GREY, linestyle=":", linewidth=1)
        spread.set(xscale="log", xlabel="standard deviation of the reward", ylabel="positions, %")
        accuracy.axhline(50, color=style.GREY, linestyle=":", linewidth=1)
        accuracy.set_xscale("log", base=2)
        accuracy.set(xlabel="tokens shown of each response", ylabel="accuracy, %", ylim=(0, 100))
        for axes in (spread, accuracy):
            axes.xaxis.set_major_formatter("{x:g}")
        style.shared_legend(figure, [spread])
        files = style.save_figure(figure, output, "token-rewards-plot", rows)
    caption = (
        "Above: how certain the rewards are, weighted; the prior's deviation is 1, and what the "
        "model clamps stands in the outermost bins. Below: accuracy where only the beginning of "
        "each response is shown, with 95 % intervals; the last point shows all, a tie is wrong. "
        "Dotted: a coin."
    )
    return Plot("Spreads of rewards, and accuracy on beginnings", files, caption)


def _row(one: Diagnosed, what: str, place: float, percent: float) -> dict[str, object]:
    return {"reward model": one.entry.name, "what": what, "at": place, "percent": percent}
