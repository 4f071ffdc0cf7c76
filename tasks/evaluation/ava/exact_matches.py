"""How many answers come to the right number: beside who wins, as the paper's Math asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.evaluation.ava.arm_lines import Evaluations, Line, contender, interval_of
from tasks.evaluation.config import EXACT_MATCH
from tasks.evaluation.metrics.estimates import Estimate, Interval
from tasks.evaluation.report.headline import lead_of
from tasks.evaluation.report.tables import Cell, Column, Table


def exact_shares(lines: Sequence[Line], evaluations: Evaluations) -> Mapping[str, Estimate]:
    """Return the share of answers that come to the right number, by line."""
    return {line.name: contender(line, evaluations, EXACT_MATCH).reward for line in lines}


def exact_tables(lines: Sequence[Line], evaluations: Evaluations) -> Iterator[Table]:
    """Lay out the share of right answers of every line and what it is over the start's.

    Args:
        lines: The start first; exact match judged all of them.
        evaluations: Of the entries, by name.
    """
    start = contender(lines[0], evaluations, EXACT_MATCH)
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        one = contender(line, evaluations, EXACT_MATCH)
        over = None
        if line is not lines[0]:
            lead = lead_of(one, start)
            over = _percent(lead, interval_of(lead), "+.1f")
        ends = interval_of(one.reward)
        share = _percent(one.reward, Interval(max(ends.low, 0.0), min(ends.high, 1.0)))
        rows.append((line.name, line.first.data, len(line.entries), share, over))
    columns = ("Policy", "Learnt from", "Seeds", "Exact match (%), 95 %", "Over start, 95 %")
    note = (
        "Share of answers that come to the number of the test record's own answer; intervals are "
        "over prompts and seeds, and what is over the start is paired by prompt."
    )
    title = "Exact match of the final number"
    yield Table(
        EXACT_MATCH.replace("_", "-"), title, tuple(map(Column, columns)), tuple(rows), note
    )


def _percent(share: Estimate, ends: Interval, spec: str = ".1f") -> str:
    return f"{100 * share.value:{spec}} ({100 * ends.low:{spec}} to {100 * ends.high:{spec}})"
