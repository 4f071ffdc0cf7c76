"""One report of several runs: the rows of their tables together, as the papers' own tables are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.report.document import Report
from tasks.evaluation.report.tables import Cell, Column, Table
from tasks.settings.errors import ConfigError

JOINED = (
    "accuracies", "table-2", "table-3", "table-4", "table-5", "exact-match",
    "matches", "win-rates", "duels", "last-checkpoints",
)  # fmt: skip
"""The tables whose rows several runs can share, by key: of the flows `apo`, `exo` and `ava`."""
_BASE, _START = "LLM Base", "start"


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run brings to a joined report."""

    run: str
    """The run's id."""
    base: str
    """The model that its policies were trained from."""
    tables: Mapping[str, Any]
    """The tables of its report.json, by key."""
    judges: Mapping[str, str]
    """Digest of each judge's model, by name: only the same judge's scores compare."""
    prompts: frozenset[str]
    """Ids of the prompts that its policies answered."""


def join_runs(runs: Sequence[RunReport]) -> Report:
    """Put the tables of several runs together, a number for each run.

    What two runs share is shown once: the start and the opponents of runs from one base. A cell
    whose judge is another model than in the first run says so instead of a number.

    Args:
        runs: Two or more of one flow, in the order of the rows.

    Raises:
        ConfigError: They answered other test prompts, or have no such table in common.
    """
    first = runs[0]
    for other in runs[1:]:
        if other.prompts != first.prompts:
            shared = len(other.prompts & first.prompts)
            raise ConfigError(
                f"{first.run} was measured on {len(first.prompts)} prompts and {other.run} on "
                f"{len(other.prompts)}, {shared} of them the same: only runs that answered the "
                "same test prompts make one table"
            )
    keys = [key for key in JOINED if all(key in run.tables for run in runs)]
    if not keys:
        raise ConfigError(
            f"the reports of {', '.join(run.run for run in runs)} have no table of policies in "
            "common: name runs of one flow"
        )
    numbered = {f"{place}": run for place, run in enumerate(runs, start=1)}
    return Report(
        title=f"{len(runs)} runs in one",
        facts={number: f"{run.run}, from {run.base}" for number, run in numbered.items()},
        findings=list(_strangers(first, runs[1:])),
        tables=[_join(key, numbered, first) for key in keys],
    )


def _strangers(first: RunReport, others: Sequence[RunReport]) -> Iterator[str]:
    """Say which judges are not the same model in all runs."""
    for other in others:
        if names := _other_judges(first, other):
            yield (
                f"{', '.join(names)} of {other.run} is another model than in {first.run}, so its "
                "scores do not compare: give all runs one `reward.base` and the same data"
            )


def _other_judges(first: RunReport, run: RunReport) -> list[str]:
    return [name for name, digest in run.judges.items() if first.judges.get(name, "") != digest]


def _join(key: str, numbered: Mapping[str, RunReport], first: RunReport) -> Table:
    found = [run.tables[key] for run in numbered.values()]
    names = list(dict.fromkeys(name for table in found for name in table["columns"]))
    rows: dict[tuple[Cell, ...], tuple[Cell, ...]] = {}
    for number, run in numbered.items():
        strangers = _other_judges(first, run)
        for row in run.tables[key]["rows"]:
            cells = dict(zip(run.tables[key]["columns"], row, strict=True))
            if cells.get(_BASE) == _START:
                cells[_BASE] = run.base
            cells |= {
                name: f"another {judge}"
                for judge in strangers
                for name in cells
                if re.search(rf"\b{re.escape(judge)}\b", name)
            }
            whole = tuple(cells.get(name) for name in names)
            # The same contender of the same base, measured once, belongs to the first of its runs.
            rows.setdefault((run.base, *whole), (number, run.base, *whole))
    columns = [Column("Run"), Column("Base")]
    columns += [Column(name, ".3f" if _is_fraction(name, found) else "") for name in names]
    return Table(key, found[0]["title"], tuple(columns), tuple(rows.values()), found[0]["note"])


def _is_fraction(name: str, tables: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a column holds numbers that are no counts."""
    cells = (
        row[table["columns"].index(name)]
        for table in tables
        if name in table["columns"]
        for row in table["rows"]
    )
    return any(isinstance(cell, float) for cell in cells)
