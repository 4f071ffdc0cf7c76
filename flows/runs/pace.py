"""Where a run is: stage n of N, how far each running stage is, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any, NamedTuple

from tasks.stages.key import stage_title
from tasks.stages.runs.context import PlannedStage
from tasks.stages.runs.progress import StageProgress


class TimeLeft(NamedTuple):
    """How long a run will still take, as earlier runs took."""

    seconds: float
    """Of the stages whose duration is known."""
    unknown: int
    """Stages that never ran here."""


class Pace:
    """Follows the stages of a run against its plan."""

    def __init__(self, planned: Sequence[PlannedStage]) -> None:
        """Take what each stage would do; without a plan nothing is known of what is to come."""
        self.running: dict[str, StageProgress] = {}
        self._planned = {one.title: one for one in planned}
        self._todo = {one.title for one in planned if one.state != "done"}
        self._numbers: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}

    @property
    def total(self) -> int:
        """Stages of the run; 0 without a plan."""
        return max(len(self._planned), len(self._numbers)) if self._planned else 0

    def started(self, title: str, at: float | None = None) -> None:
        """Begin a stage, now or at a time in seconds of the epoch."""
        self.number(title)
        self.running[title] = StageProgress()
        self._began[title] = time.time() if at is None else at

    def finished(self, stage: str, title: str, seconds: float, *, is_done: bool) -> None:
        """End a stage; one that failed is still to do."""
        self.number(title)
        self.running.pop(title, None)
        if is_done:
            self._todo.discard(title)
            self._took.setdefault(stage, []).append(seconds)

    def number(self, title: str) -> int:
        """Return which stage of the run this is, from 1, in the order in which they begin."""
        return self._numbers.setdefault(title, len(self._numbers) + 1)

    def left(self) -> TimeLeft:
        """Return how long the rest will take; what runs side by side shares the time."""
        found = [self._left_of(title) for title in self._todo | self.running.keys()]
        known = [seconds for seconds in found if seconds is not None]
        return TimeLeft(sum(known) / max(1, len(self.running)), len(found) - len(known))

    def _left_of(self, title: str) -> float | None:
        running = self.running.get(title)
        if running is not None and running.left is not None:
            return running.left
        planned = self._planned.get(title)
        if planned is None:
            return None
        took = self._took.get(planned.stage)
        expected = planned.seconds if planned.seconds is not None or not took else fmean(took)
        if expected is None:
            return None
        elapsed = time.time() - self._began[title] if running is not None else 0.0
        return max(0.0, expected - elapsed)


def replayed(
    planned: Sequence[PlannedStage],
    events: Iterable[Mapping[str, Any]],
    kept: Mapping[str, Mapping[str, Any]],
) -> Pace:
    """Return where a run is that another process works on.

    Args:
        planned: Its plan of now.
        events: What happened to its stages, as in its journal.
        kept: What its running stages said last, by title.
    """
    pace = Pace(planned)
    for event in events:
        title = stage_title(event["stage"], event["label"])
        if event["event"] == "finished":
            done = event["state"] in ("completed", "cached")
            pace.finished(event["stage"], title, event["seconds"], is_done=done)
            continue
        began = datetime.fromisoformat(event["time"]).timestamp()
        pace.started(title, began)
        # What an earlier attempt said counts no more.
        if title in kept and kept[title]["time"] >= began:
            last = kept[title]
            pace.running[title] = StageProgress(
                last["done"], last["total"], last["unit"], last["rate"]
            )
    return pace
