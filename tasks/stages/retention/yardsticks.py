"""What the scheduled runs of a deployment are compared by, and what was measured of each by it.

The records lie where every machine of a deployment finds them, sealed: `trend/FLOW-NAME/series/`
has what a series pinned, `trend/FLOW-NAME/ticks/` a row per scheduled run. What the newest series
pinned is never collected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from tasks.stages.runs.references import shared_records
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.opening import open_remote

_FOLDER = "trend/"
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Series:
    """What the scheduled runs of a deployment are compared by, until another series begins."""

    number: int
    """1 for the first one of its deployment."""
    deployment: str
    """The deployment, `FLOW/NAME`."""
    flow: str
    """What its aliases are named by, `FLOW` or `PROJECT.FLOW`."""
    yardstick: str
    """Digest of `evaluation.yardstick`: another one begins a new series."""
    run: str
    """The run whose prompts and testing reward models are pinned."""
    time: str
    """When it began, ISO 8601, UTC."""
    champion: str
    """`STAGE/KEY` of the policy that others are compared with."""
    champion_run: str
    """The run that made it."""
    basis: Mapping[str, str]
    """`STAGE/KEY` by name of what the run measured with: test prompts, testers, start."""
    config: Mapping[str, Any]
    """The run's configuration, by which everybody is measured."""


@dataclass(frozen=True, slots=True)
class TickRow:
    """What was measured of one scheduled run by the yardstick of its series."""

    run: str
    """Its id."""
    series: int
    """The series' number."""
    due: str
    """When it was due, ISO 8601, UTC; empty where that is not known."""
    metrics: Mapping[str, float]
    """`win_rate` against the first champion with `_low` and `_high`, `accuracy`, `ece`, `kl`,
    `length`, `hours`, `dollars`; what was not measured is left out."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """`STAGE/KEY` of the prompts, the tester and the champion that it was measured by."""
    gate: str = ""
    """`promoted` or `refused`; empty where nobody asked the gate."""


class TrendRecords:
    """The series and rows of one deployment.

    Args:
        home: Whose records.
        deployment: `FLOW/NAME`, as a folder may be called.
    """

    def __init__(self, home: Home, deployment: str) -> None:
        self._records = shared_records(home)
        self._folder = f"{_FOLDER}{deployment}/"

    def series(self) -> list[Series]:
        """Return every series, the oldest first.

        Raises:
            CorruptError: One is damaged.
        """
        return self._all("series", Series)

    def rows(self) -> list[TickRow]:
        """Return the rows of the scheduled runs, the oldest first; raises as `series`."""
        return self._all("ticks", TickRow)

    def begin_series(self, series: Series) -> Series:
        """Write a series down, and return the one that stands: of two at once the first."""
        self._put(f"series/{series.number:06d}.json", asdict(series))
        return next(one for one in self.series() if one.number == series.number)

    def add_row(self, row: TickRow) -> None:
        """Write down what was measured of a run; what stands of it stays."""
        self._put(f"ticks/{row.run}.json", asdict(row))

    def _all(self, kind: str, of: Callable[..., Record]) -> list[Record]:
        found = []
        for name in sorted(self._records.names(f"{self._folder}{kind}/")):
            data = self._records.get(name)
            if data is None:
                raise CorruptError(f"{self._records.url}/{name} is gone")
            where = f"{self._records.url}/{name}"
            try:
                found.append(of(**unsealed_json(data, where)))
            except TypeError as error:
                raise CorruptError(f"{where} is no record of a trend: {error}") from error
        return found

    def _put(self, name: str, values: dict[str, Any]) -> None:
        self._records.put_if_absent(self._folder + name, sealed_json(values).encode())


def deployments_with_trend(home: Home) -> list[str]:
    """Return the deployments, as folders are called, of which a series was begun."""
    if open_remote() is None and not home.root.is_dir():
        return []
    return sorted({name.split("/")[1] for name in shared_records(home).names(_FOLDER)})


def pinned_by_yardsticks(home: Home) -> dict[str, str]:
    """Return what the newest series of each deployment needs: a reason by key.

    Raises:
        CorruptError: A record is damaged.
    """
    found = {}
    for deployment in deployments_with_trend(home):
        for series in TrendRecords(home, deployment).series()[-1:]:
            why = f"the yardstick of {series.deployment}"
            for reference in (series.champion, *series.basis.values()):
                found[reference.partition("/")[2]] = why
    return found
