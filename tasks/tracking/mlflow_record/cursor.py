"""How far a run's events have been logged, and what MLflow calls the run and its stages.

The cursor lies in the run's spool folder. It is written after MLflow took the events, so a kill in
between logs a few of them twice, which does no harm: runs are looked up by our own ids before they
are made, and equal metric points are one point.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.storage.errors import CorruptError
from tasks.storage.sealed import read_sealed, write_sealed
from tasks.tracking.spool import LOGGED_LATER, read_segments


@dataclass(slots=True)
class Cursor:
    """How far one run is logged."""

    logged: dict[str, int] = field(default_factory=dict)
    """How many events of each segment are logged; segments that are gone are not listed."""
    place: str = ""
    """The MLflow that the ids below are of."""
    flow: str = ""
    """The flow's name; empty when this home only works on stages of somebody else's run."""
    experiment: str = ""
    """MLflow's id of the experiment."""
    runs: dict[str, str] = field(default_factory=dict)
    """MLflow's run id by stage key; the flow's own run has the key ""."""
    shared: list[str] = field(default_factory=list)
    """Stages whose MLflow run another home had made: it may have logged metrics of them."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Titles of the stages that had been done before, by key."""
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By stage: what its metrics are about, `model` and `datasets`; see `MetricSubject`."""
    attempts: dict[str, int] = field(default_factory=dict)
    """The newest attempt at each stage."""
    floors: dict[str, dict[str, int]] = field(default_factory=dict)
    """By stage and metric: the last step that earlier attempts logged."""
    steps: dict[str, dict[str, int]] = field(default_factory=dict)
    """By stage and metric: the last step logged so far."""

    @classmethod
    def load(cls, folder: Path) -> Cursor:
        """Read the cursor of a run's spool folder; a new one if there is none."""
        try:
            values = read_sealed(folder / "cursor.json")
        except (FileNotFoundError, CorruptError):
            # Without one all is told again, by ids of ours that MLflow knows.
            return cls()
        return cls(**values)

    def save(self, folder: Path) -> None:
        """Write the cursor into a run's spool folder."""
        write_sealed(folder / "cursor.json", asdict(self))

    def move_to(self, place: str) -> None:
        """Forget what another MLflow called things; they are looked up by our own ids."""
        if self.place and self.place != place:
            self.forget()
        self.place = place

    def forget(self) -> None:
        """Drop MLflow's ids, which it does not know any more."""
        self.experiment = ""
        self.runs.clear()
        self.subjects.clear()

    def begin_attempt(self, stage: str, attempt: int) -> None:
        """Note that a stage starts again: steps logged before must not be logged again.

        An attempt that resumes from a checkpoint repeats the steps after it.
        """
        if attempt > self.attempts.get(stage, 0):
            self.attempts[stage] = attempt
            self.floors[stage] = dict(self.steps.get(stage, {}))

    def is_new_step(self, stage: str, metric: str, step: int) -> bool:
        """Whether no earlier attempt logged this step of a metric; the step is remembered."""
        steps = self.steps.setdefault(stage, {})
        steps[metric] = max(step, steps.get(metric, step))
        return step > self.floors.get(stage, {}).get(metric, step - 1)


def is_waiting(folder: Path) -> bool:
    """Whether a run has events that should be logged now.

    A run in which every stage had been done before is not worth starting MLflow for: its events
    wait until something else is logged.
    """
    cursor = Cursor.load(folder)
    for segment in read_segments(folder):
        waiting = segment.events[cursor.logged.get(segment.path.name, 0) :]
        if waiting and (
            cursor.runs or any(event["event"] not in LOGGED_LATER for event in waiting)
        ):
            return True
    return False
