"""How far running stages are, kept beside the run so that another command can show it.

What a stage says on its way – here, in a training's processes, or on a worker – comes to the run's
`ProgressSink`; `KeptProgress` is one that writes it down and passes it on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.stages.runs.context import ProgressSink, StageRecord
from tasks.storage.errors import StorageError
from tasks.storage.sealed import read_sealed, write_sealed

_FILE = "progress.json"
_WRITE_SECONDS = 2.0
_LATELY = 32
"""Reports over which the rate is measured."""


@dataclass
class StageProgress:
    """How far one running stage is, and how fast it was lately."""

    done: int = 0
    """Units finished."""
    total: int = 0
    """Units in all; 0 until the stage says it."""
    unit: str = ""
    """What is counted, in the plural."""
    rate: float | None = None
    """Units per second; None until two reports lie apart."""
    _lately: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_LATELY))

    @property
    def left(self) -> float | None:
        """Seconds to its end at this rate; None where that is not known."""
        return (self.total - self.done) / self.rate if self.rate else None

    def report(self, done: int, total: int, unit: str) -> None:
        """Take what the stage says now."""
        self.done, self.total, self.unit = done, total, unit
        self._lately.append((time.monotonic(), done))
        (began, first), (now, last) = self._lately[0], self._lately[-1]
        self.rate = (last - first) / (now - began) if now > began and last > first else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the time of now in seconds of the epoch."""
        plain = {"done": self.done, "total": self.total, "unit": self.unit}
        return {**plain, "rate": self.rate, "time": time.time()}


class KeptProgress:
    """Passes everything on to another `ProgressSink`, and writes down how far the stages are."""

    def __init__(self, folder: Path, inner: ProgressSink) -> None:
        self._path, self._inner = folder / _FILE, inner
        self._running: dict[str, StageProgress] = {}
        self._written = 0.0

    def stage_started(self, record: StageRecord) -> None:
        """Begin to follow a stage."""
        self._running[record.title] = StageProgress()
        self._inner.stage_started(record)

    def stage_finished(self, record: StageRecord) -> None:
        """Follow a stage no more."""
        self._running.pop(record.title, None)
        self._inner.stage_finished(record)

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Note how far a stage is, and write it down every few seconds."""
        self._inner.progress(title, done, total, unit)
        if title not in self._running:
            return
        self._running[title].report(done, total, unit)
        if time.monotonic() < self._written + _WRITE_SECONDS:
            return
        self._written = time.monotonic()
        try:
            write_sealed(self._path, {name: one.to_json() for name, one in self._running.items()})
        except (OSError, StorageError):  # who looks sees it a little later
            return

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Pass the metrics of a stage on."""
        self._inner.metrics(title, values, step)

    def note(self, title: str, text: str) -> None:
        """Pass a sentence on."""
        self._inner.note(title, text)


def read_progress(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by title what the stages of a run, given by its folder, said last."""
    try:
        return read_sealed(folder / _FILE)
    except (OSError, StorageError):
        return {}
