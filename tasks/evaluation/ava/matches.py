"""Who meets whom in the paper's Tables 2 to 5, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.evaluation.ava.arm_lines import Duel, Evaluations, Line, duel
from tasks.evaluation.metrics.estimates import Estimate
from tasks.evaluation.report.tables import Cell, Column, Table

_TITLES = {
    "table-2": "Table 2: best-of-N",
    "table-3": "Table 3: PPO fine-tuning",
    "table-4": "Table 4: direct optimisation from preferences",
    "table-5": "Table 5: direct optimisation from demonstrations",
}


@dataclass(frozen=True, slots=True)
class Match:
    """Two lines that a table of the paper compares, under each judge."""

    table: str
    """Key of the table."""
    ours: Line
    """The line of AVA's."""
    theirs: Line
    """The one that it is compared with."""
    duels: Mapping[str, Duel]
    """By judge, the one that decides first."""

    @property
    def decided(self) -> Duel:
        """The duel under the judge that decides."""
        return next(iter(self.duels.values()))


def matches_of(
    lines: Sequence[Line], evaluations: Evaluations, judges: Sequence[str]
) -> list[Match]:
    """Return every match of the paper's Tables 2 to 5 that the run has both sides of.

    Best-of-N and PPO with AVA's reward models meet those with the baselines', and stochastic
    sampling or SFT; policies that AVA trained meet those of other objectives on data of that kind.
    """
    found = []
    for ours in lines:
        for theirs in lines:
            if table := ours.first.meets(theirs.first):
                duels = {judge: duel(ours, theirs, evaluations, judge) for judge in judges}
                found.append(Match(table, ours, theirs, duels))
    return sorted(found, key=lambda match: match.table)


def match_tables(matches: Sequence[Match]) -> Iterator[Table]:
    """Lay out the matches as the paper's tables do, a table for each that has any.

    Source:
        Tables 2 to 5, arXiv 2411.09341 (AVA).
    """
    for key, title in _TITLES.items():
        if mine := [match for match in matches if match.table == key]:
            yield _table(key, title, mine)


def match_findings(matches: Sequence[Match], judge: str) -> Iterator[str]:
    """Say of each match who is ahead, as far as the interval tells."""
    for match in matches:
        one = match.decided
        ends = one.interval
        yield (
            f"{match.ours.name} against {match.theirs.name} by {judge}: wins {one.win.value:.1%}, "
            f"loses {one.lose.value:.1%} (lead {100 * one.lead.value:+.1f} points, 95 %: "
            f"{100 * ends.low:+.1f} to {100 * ends.high:+.1f}): {one.verdict}"
        )


def _table(key: str, title: str, matches: Sequence[Match]) -> Table:
    judges = list(matches[0].duels)
    rows: list[tuple[Cell, ...]] = []
    for match in matches:
        one = match.decided
        seeds = f"{len(match.ours.entries)} and {len(match.theirs.entries)}"
        shares = (_percent(share) for share in (one.win, one.tie, one.lose, one.identical))
        ends = f"{100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f}"
        others = (
            " / ".join(f"{100 * share.value:.1f}" for share in (met.win, met.tie, met.lose))
            for met in (match.duels[judge] for judge in judges[1:])
        )
        rows.append(
            (match.ours.name, match.theirs.name, seeds, *shares, ends, one.verdict, *others)
        )
    names = (
        "Ours", "Opponent", "Seeds", "Win ↑", "Tie", "Lose ↓", "Identical texts",
        "Win − lose, 95 %", "Verdict",
    )  # fmt: skip
    columns = (*names, *(f"{judge}, win / tie / lose" for judge in judges[1:]))
    note = (
        f"Percent of all pairs of answers to a prompt, by {judges[0]}. A tie is an equal text or "
        "an equal score."
    )
    return Table(key, title, tuple(map(Column, columns)), tuple(rows), note)


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f} ± {100 * share.standard_error:.1f}"
