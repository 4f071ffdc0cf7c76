"""How far a run's events have been told, and what MLflow calls the run and its stages.

The cursor lies in the run's spool folder. It is written after MLflow took the events, so a kill in
between tells a few of them twice, which MLflow does not notice: runs are looked up by our own ids
before they are made, and equal metric points are one point.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from tasks.storage.files import read_json, write_json
from tasks.tracking.spool import TOLD_LATER, read_segments


@dataclass(slots=True)
class Cursor:
    """The state of telling one run."""

    segment: str = ""
    """Name of the segment that is being told; those before it are told and gone."""
    index: int = 0
    """Events of it that are told."""
    experiment: str = ""
    """MLflow's id of the experiment."""
    runs: dict[str, str] = field(default_factory=dict)
    """MLflow's run id by stage key; the flow's own run has the key ""."""
    attempts: dict[str, int] = field(default_factory=dict)
    """The newest attempt at each stage."""
    floors: dict[str, dict[str, int]] = field(default_factory=dict)
    """By stage and metric: the last step that earlier attempts told."""
    steps: dict[str, dict[str, int]] = field(default_factory=dict)
    """By stage and metric: the last step told so far."""

    @classmethod
    def load(cls, folder: Path) -> Cursor:
        """Read the cursor of a run's spool folder; a new one if there is none."""
        try:
            return cls(**read_json(folder / "cursor.json"))
        except FileNotFoundError:
            return cls()

    def save(self, folder: Path) -> None:
        """Write the cursor into a run's spool folder."""
        write_json(folder / "cursor.json", asdict(self))

    def begin_attempt(self, stage: str, attempt: int) -> None:
        """Note that a stage starts again: steps told before must not be told twice.

        An attempt that resumes from a checkpoint repeats the steps after it.
        """
        if attempt > self.attempts.get(stage, 0):
            self.attempts[stage] = attempt
            self.floors[stage] = dict(self.steps.get(stage, {}))

    def is_new_step(self, stage: str, metric: str, step: int) -> bool:
        """Tell whether no earlier attempt told this step of a metric, and remember the step."""
        steps = self.steps.setdefault(stage, {})
        steps[metric] = max(step, steps.get(metric, step))
        return step > self.floors.get(stage, {}).get(metric, step - 1)


def is_waiting(folder: Path) -> bool:
    """Tell whether a run has something that MLflow should hear now.

    A run in which every stage had been done before is not worth starting MLflow for: its events
    wait until something else is told.
    """
    cursor = Cursor.load(folder)
    for segment in read_segments(folder, after=cursor.segment):
        told = cursor.index if segment.path.name == cursor.segment else 0
        untold = segment.events[told:]
        if untold and (cursor.runs or any(event["event"] not in TOLD_LATER for event in untold)):
            return True
    return False
