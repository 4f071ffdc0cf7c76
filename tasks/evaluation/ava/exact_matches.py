"""How many answers come to the right number: beside who wins, as the paper's Math asks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluation.ava.arm_lines import Evaluations, Line, contender, interval_of
from tasks.evaluation.config import EXACT_MATCH
from tasks.evaluation.metrics.estimates import Estimate, Interval
from tasks.evaluation.report.headline import Contender, lead_of
from tasks.evaluation.report.tables import Cell, Column, Table


def by_exact_match(lines: Sequence[Line], evaluations: Evaluations) -> list[Contender]:
    """Return the lines with the share of their answers that come to the right number."""
    return [contender(line, evaluations, EXACT_MATCH) for line in lines]


def exact_table(lines: Sequence[Line], evaluations: Evaluations) -> Table:
    """Lay out the share of right answers of every line and what it is over the start's.

    Args:
        lines: The start first; exact match judged all of them.
        evaluations: Of the entries, by name.
    """
    start, *others = by_exact_match(lines, evaluations)
    leads = [None, *(lead_of(one, start) for one in others)]
    rows: list[tuple[Cell, ...]] = []
    for line, one, lead in zip(lines, (start, *others), leads, strict=True):
        ends = interval_of(one.reward)
        share = _percent(one.reward, Interval(max(ends.low, 0.0), min(ends.high, 1.0)))
        over = None if lead is None else _percent(lead, interval_of(lead), "+.1f")
        rows.append((line.name, line.first.data, len(line.entries), share, over))
    names = ("Policy", "Learnt from", "Seeds", "Exact match (%), 95 %", "Over start, 95 %")
    note = (
        "Share of answers that come to the number of the test record's own answer; intervals are "
        "over prompts and seeds, and what is over the start is paired by prompt."
    )
    title = "Exact match of the final number"
    return Table("exact-match", title, tuple(map(Column, names)), tuple(rows), note)


def _percent(share: Estimate, ends: Interval, spec: str = ".1f") -> str:
    return f"{100 * share.value:{spec}} ({100 * ends.low:{spec}} to {100 * ends.high:{spec}})"
