"""What a run has used: the hours that it worked and the hours of GPUs, over all its attempts.

`runs/RUN/usage.json` is written every few seconds, so that a kill loses no more of the count; of a
run with a cap the remote has a copy every minute, for another machine may go on with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tasks.stages.remote.layout import runs_folder
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import run_folder
from tasks.storage.errors import StorageError
from tasks.storage.home import Home
from tasks.storage.sealed import read_sealed, sealed_json, unsealed_json, write_sealed
from tasks.tracking.remote.base import Remote

_FILE = "usage.json"
_SHARE_SECONDS = 60.0


class Usage(NamedTuple):
    """Hours that a run has used."""

    hours: float = 0.0
    """Hours in which it worked."""
    gpu_hours: float = 0.0
    """The same for each GPU that a stage of it held."""


def read_usage(home: Home, run_id: str) -> Usage:
    """Return what a run has used so far; nothing where that is not known."""
    try:
        kept = read_sealed(run_folder(home, run_id) / _FILE)
        return Usage(float(kept["hours"]), float(kept["gpu_hours"]))
    except (OSError, StorageError, KeyError, TypeError, ValueError):
        return Usage()


class UsageMeter:
    """Counts what a run uses in this attempt, on top of what it had used before."""

    def __init__(self, home: Home, run_id: str, remote: Remote | None = None) -> None:
        """Begin to count, from what is known here or on the remote, if one is given."""
        self._home, self._run_id, self._remote = home, run_id, remote
        self._shared = -math.inf
        self._before = max(read_usage(home, run_id), self._read_shared())
        self._events = len(stage_events(home, run_id))
        self._began = time.monotonic()

    def keep(self) -> Usage:
        """Return what the run has used until now, and write it down.

        Raises:
            StorageError: The disk refuses, or the remote.
        """
        worked = (time.monotonic() - self._began) / 3600
        events = stage_events(self._home, self._run_id)[self._events :]
        held = gpu_hours(events, datetime.now(UTC))
        used = Usage(self._before.hours + worked, self._before.gpu_hours + held)
        write_sealed(run_folder(self._home, self._run_id) / _FILE, used._asdict())
        if self._remote is not None and time.monotonic() > self._shared + _SHARE_SECONDS:
            self._shared = time.monotonic()
            self._remote.put(self._name, sealed_json(used._asdict()).encode())
        return used

    @property
    def _name(self) -> str:
        return f"{runs_folder(self._run_id)}{_FILE}"

    def _read_shared(self) -> Usage:
        data = self._remote.get(self._name) if self._remote is not None else None
        return Usage(**unsealed_json(data, self._name)) if data else Usage()


def gpu_hours(events: Iterable[dict[str, Any]], now: datetime) -> float:
    """Return the hours of GPUs in a part of a run's journal; what was not finished runs till now.

    Example:
        >>> began = {"event": "started", "key": "k", "gpus": 2, "time": "2026-01-01T10:00:00+00:00"}
        >>> gpu_hours([began], datetime(2026, 1, 1, 10, 30, tzinfo=UTC))
        1.0
    """
    seconds = 0.0
    running: dict[str, tuple[datetime, int]] = {}
    for event in events:
        at = datetime.fromisoformat(event["time"])
        if event["event"] == "started":
            running[event["key"]] = at, event.get("gpus", 0)
        elif event["key"] in running:
            begun, gpus = running.pop(event["key"])
            seconds += (at - begun).total_seconds() * gpus
    return (
        seconds + sum((now - at).total_seconds() * gpus for at, gpus in running.values())
    ) / 3600
