"""The tables of an EXO run: win rates, last checkpoints, reward at equal KL, reward models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

from tasks.evaluation.exo.comparisons import Comparison, main_series
from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.frontier import Frontier, FrontierPoint, pareto
from tasks.evaluation.exo.points import Shares, shares_against, shares_between
from tasks.evaluation.exo.series import KINDS, Series
from tasks.evaluation.metrics.estimates import Estimate, over_seeds
from tasks.evaluation.report.tables import Cell, Column, Table

Evaluations = Mapping[str, Any]
LEVELS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""KLs in nats that the table of rewards at equal KL may show."""


def win_table(
    all_series: Sequence[Series],
    opponents: Sequence[ExoEntry],
    evaluations: Evaluations,
    judges: Sequence[str],
) -> Table:
    """Lay out percents won against the start and the chosen responses, as Tables 1 and 2 do.

    The last checkpoints of the series are compared, in a column per judge and opponent.

    Source:
        Tables 1 and 2, arXiv 2402.00856 (EXO).
    """
    views = [(judge, opponent) for judge in judges for opponent in opponents]
    rows: list[tuple[Cell, ...]] = []
    for series in all_series:
        shares = [shares_against(series.last, rival, evaluations, judge) for judge, rival in views]
        rows.append(
            (series.name, series.first.supervision or "–", *(_percent(one) for one in shares))
        )
    columns = [f"{judge}, win/lose vs {KINDS[rival.kind]} (%)" for judge, rival in views]
    return Table(
        "win-rates",
        "Tables 1 and 2: win rates, all combinations of completions",
        (Column("Method"), Column("Supervision"), *(Column(name) for name in columns)),
        tuple(rows),
        "What is neither won nor lost is tied.",
    )


def duel_table(
    all_series: Sequence[Series], evaluations: Evaluations, judges: Sequence[str]
) -> Table | None:
    """Lay out how often each method wins against each other one, a column per judge.

    None where there is one method alone; the start and the chosen responses have their own table.

    Source:
        Figure 4, arXiv 2402.00856 (EXO): EXO against DPO, PPO and SFT.
    """
    rows: list[tuple[Cell, ...]] = []
    for ours, theirs in combinations(main_series(all_series), 2):
        met = (shares_between(ours.last, theirs.last, evaluations, judge) for judge in judges)
        rows.append((f"{ours.name} vs {theirs.name}", *map(_percent, met)))
    if not rows:
        return None
    columns = (Column("Match"), *(Column(f"{judge}, win/lose (%)") for judge in judges))
    note = "Last checkpoints, all combinations of completions, seen from the first."
    return Table("duels", "Method against method (Figure 4)", columns, tuple(rows), note)


def checkpoint_table(
    all_series: Sequence[Series],
    start: FrontierPoint,
    points: Mapping[str, FrontierPoint],
    judge: str,
) -> Table:
    """Lay out where each series ends."""
    names = ("Method", "Seeds", "Steps", "KL", f"{judge} reward", "σ(reward)", "Spread", "Frontier")
    best = {point.name for point in pareto(points.values())}
    first: tuple[Cell, ...] = (start.series, 1, 0, *map(shown_estimate, _estimates([start])), "–")
    rows: list[tuple[Cell, ...]] = [first]
    for series in all_series:
        last = [points[entry.name] for entry in series.last]
        steps = max(point.step for point in last)
        undominated = sum(entry.name in best for entry in series.entries)
        share = f"{undominated} of {len(series.entries)}"
        rows.append((series.name, len(last), steps, *map(shown_estimate, _estimates(last)), share))
    note = (
        "KL in nats per response; spread: deviation among a prompt's responses. Frontier: "
        "how many of the line's checkpoints no other checkpoint beats (none has as much reward at "
        "no more KL). Steps of Best-of-N are its N."
    )
    columns = tuple(Column(name) for name in names)
    return Table("last-checkpoints", "Last checkpoints", columns, tuple(rows), note)


def level_table(all_series: Sequence[Series], frontier: Frontier, judge: str) -> Table | None:
    """Lay out the reward at some KLs; None where no two series reach a common one."""
    found = {
        (series.name, level): frontier.reward_at(series.name, level)
        for series in all_series
        for level in LEVELS
    }
    levels = [
        level
        for level in LEVELS
        if sum(found[series.name, level] is not None for series in all_series)
        >= min(2, len(all_series))
    ]
    if not levels:
        return None
    rows = tuple(
        (series.name, *(_within(found[series.name, level]) for level in levels))
        for series in all_series
    )
    columns = (Column("Method"), *(Column(f"KL {level:g}") for level in levels))
    note = (
        "Between its checkpoints a line is straight; intervals are 95 %, over seeds and prompts. A "
        "dash: not every seed of the line was measured on both sides of that KL."
    )
    return Table("reward-at-kl", f"{judge} reward at equal KL", columns, rows, note)


def comparison_table(comparisons: Sequence[Comparison], judge: str) -> Table:
    """Lay out who gets more reward at equal KL."""
    names = (
        "Question", "Ours", "Theirs", "Seeds", "KL range", "Difference", "95 %", "Above", "Verdict",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for comparison in comparisons:
        head = (comparison.question, comparison.ours, comparison.theirs)
        one = comparison.outcome
        if one is None:
            rows.append((*head, "–", "–", "–", "–", "–", "no common KL"))
            continue
        rows.append(
            (
                *head,
                f"{one.seeds[0]} and {one.seeds[1]}",
                f"{one.low:.2f} to {one.high:.2f}" + (" *" if one.on_chord else ""),
                f"{one.difference:+.3f}",
                f"{one.interval.low:+.3f} to {one.interval.high:+.3f}",
                f"{one.above:.0%}",
                one.verdict,
            )
        )
    note = (
        f"Mean over the KL range (nats) of our {judge} reward minus theirs, paired by test prompt; "
        "the interval is a bootstrap over seeds and prompts, and over prompts alone where a line "
        'has one seed. "Above" is the share of the range where the interval at that KL lies above '
        "0. *: the one that went further has no checkpoint there; its chord from the start is the "
        "least it reaches, so it cannot be found behind."
    )
    columns = tuple(Column(name) for name in names)
    return Table("equal-kl", "Comparisons at equal KL", columns, tuple(rows), note)


def reward_model_table(models: Evaluations, seen: Collection[str] = ()) -> Table:
    """Lay out how the reward models rank pairs, a row per model and set; `seen` sets are marked."""
    columns = (
        Column("Reward model"),
        Column("Pairs"),
        Column("Accuracy (%)", ".2f"),
        Column("ECE", ".3f"),
    )
    rows = tuple(
        (
            name,
            f"{pairs} (seen)" if pairs in seen else pairs,
            100 * one["figures"]["accuracy"],
            one["figures"]["ece"],
        )
        for name, sets in models.items()
        for pairs, one in sets.items()
    )
    return Table("reward-models", "Reward models", columns, rows)


def settings_table(all_series: Sequence[Series]) -> Table:
    """Lay out the coefficients of every series."""
    symbols: dict[str, str] = {}
    for series in all_series:
        for key in series.first.coefficients:
            symbols.setdefault(key, series.facts.symbols[key])
    numbers = (*symbols.values(), "τ")
    names = ("Method", "Kind", "Supervision", "K or N", *numbers, "Seeds")
    rows: list[tuple[Cell, ...]] = []
    for series in all_series:
        one = series.first
        sizes = sorted({entry.responses for entry in series.entries if entry.responses})
        size = ", ".join(map(str, sizes)) or None
        seeds = ", ".join(map(str, series.seeds))
        supervision = one.supervision or None
        values = (*map(one.coefficients.get, symbols), one.temperature)
        rows.append((series.name, series.title, supervision, size, *values, seeds))
    columns = tuple(Column(name, "g" if name in numbers else "") for name in names)
    return Table("settings", "Settings", columns, tuple(rows))


def _estimates(points: Sequence[FrontierPoint]) -> list[Estimate]:
    names = ("kl", "reward", "accuracy", "spread")
    return [over_seeds([getattr(point, name) for point in points]) for name in names]


def shown_estimate(estimate: Estimate, spec: str = ".3f") -> str:
    """Return an estimate as tables show it, with its standard error."""
    return f"{estimate.value:{spec}} ± {estimate.standard_error:{spec}}"


def _percent(shares: Shares) -> str:
    win, lose = shares.win, shares.lose
    return f"{100 * win.value:.1f} ± {100 * win.standard_error:.1f} / {100 * lose.value:.1f}"


def _within(found: Any) -> str | None:
    if found is None:
        return None
    value, interval = found
    return f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
