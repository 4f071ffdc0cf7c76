"""Reads the spool and logs it to MLflow, run by run, segment by segment."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings.passwords import without_passwords
from tasks.storage.locks import FileLock
from tasks.tracking.mlflow_record.connection import DeletedExperimentError, TrackingPlace
from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.mlflow_record.helper_events import is_foreign, run_of
from tasks.tracking.mlflow_record.metrics import MetricWriter
from tasks.tracking.mlflow_record.registry_client import RegistryClient, UnknownRunError
from tasks.tracking.mlflow_record.run_writer import RunWriter
from tasks.tracking.spool import Event, Segment, read_segments, spooled_runs

if TYPE_CHECKING:
    from mlflow.entities import Metric

_log = logging.getLogger("sparring.tracking")
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"})


class MlflowRecord:
    """The `EventSink` that turns spooled events into MLflow's runs and models."""

    def __init__(self, place: TrackingPlace) -> None:
        """Connect; raises whatever MLflow raises when it cannot be reached."""
        self.place = place
        self._registry = RegistryClient(place)
        self._metrics = MetricWriter(self._registry.client)

    def drain(self, spool_root: Path, *, wait_seconds: float = 0.0) -> int:
        """Log, and count, everything that is spooled and not yet logged, as `EventSink.drain` says.

        What belongs to a run of another home that MLflow does not know yet stays.
        """
        with FileLock(Path(spool_root) / ".drain.lock", timeout=wait_seconds):
            logged, refused = 0, None
            self._registry.look_again()
            for folder in spooled_runs(spool_root):
                try:
                    logged += self._drain_run(folder)
                except UnknownRunError as error:
                    _log.info("%s", error)
                except DeletedExperimentError as error:  # those of other experiments are taken
                    refused = error
            if refused is not None:
                raise refused
            return logged

    def _drain_run(self, folder: Path) -> int:
        """Log the events of one run, segment by segment; what is logged for good is removed."""
        cursor = Cursor.load(folder)
        cursor.move_to(without_passwords(self.place.uri))
        logged = 0
        for segment in read_segments(folder):
            name = segment.path.name
            begin = cursor.logged.get(name, 0)
            if len(segment.events) > begin:
                self._log_segment(folder, cursor, segment.events[begin:])
                cursor.logged[name] = len(segment.events)
                cursor.save(folder)
                logged += len(segment.events) - begin
            if segment.is_full or is_foreign(folder) or not _is_owner_alive(segment):
                segment.path.unlink(missing_ok=True)
                cursor.logged.pop(name, None)
        return logged

    def _log_segment(self, folder: Path, cursor: Cursor, events: list[Event]) -> None:
        """Log events; where MLflow has lost those before them, begin anew with these."""
        from mlflow.exceptions import MlflowException

        writer = RunWriter(self._registry, run_of(folder), cursor, folder.parent)
        if cursor.runs and not writer.is_known():
            self._registry.forget()
            cursor.forget()
        points: dict[str, list[Metric]] = {}
        for event in events:
            try:
                if event["event"] == "metrics":
                    run = writer.run_id(event["stage"], event)
                    new = self._metrics.points(cursor, event, run)
                    points.setdefault(run, []).extend(new)
                    continue
                self._metrics.log(points)
                points.clear()
                writer.log(event)
            except MlflowException as error:
                if error.error_code not in _REFUSED:
                    raise
                if cursor.experiment:
                    self._registry.require_active(cursor.experiment)
                points.clear()
                _log.warning("mlflow refuses %s of %s: %s", event["event"], folder.name, error)
        self._metrics.log(points)
        # Once for all events of the segment: it reads and writes a run whole.
        writer.log_notes()


def _is_owner_alive(segment: Segment) -> bool:
    """Whether the process that writes a segment still runs (or one with its number)."""
    return Path("/proc", segment.path.stem.rpartition("-")[2]).exists()
