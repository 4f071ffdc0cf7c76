"""Reads the spool and tells MLflow, run by run, segment by segment."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.storage.locks import FileLock
from tasks.tracking.mlflow_record.connection import TrackingPlace
from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.mlflow_record.helper_events import is_foreign, run_of
from tasks.tracking.mlflow_record.metrics import PointBook
from tasks.tracking.mlflow_record.registry_client import Book, UnknownRunError
from tasks.tracking.mlflow_record.run_writer import Teller
from tasks.tracking.spool import Event, Segment, read_segments, spooled_runs

if TYPE_CHECKING:
    from mlflow.entities import Metric

_log = logging.getLogger("sparring.tracking")
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"})


class MlflowRecord:
    """A connection to MLflow that turns spooled events into runs and models.

    Args:
        place: where MLflow keeps its records.

    Attributes:
        place: the same.
    """

    def __init__(self, place: TrackingPlace) -> None:
        """Connect; raises whatever MLflow raises when it cannot be reached."""
        self.place = place
        self._book = Book(place)
        self._points = PointBook(self._book.client)

    def drain(self, spool_root: Path, *, wait_seconds: float = 0.0) -> int:
        """Tell everything that is spooled and not yet told.

        What belongs to a run of another home that MLflow does not know yet stays.

        Args:
            spool_root: the home's spool folder.
            wait_seconds: how long to wait for another process that is telling.

        Returns:
            How many events were told.

        Raises:
            LockTimeoutError: when another process is telling.
            Exception: whatever MLflow raises when it cannot be reached; nothing is lost.
        """
        with FileLock(Path(spool_root) / ".drain.lock", timeout=wait_seconds):
            told = 0
            self._book.look_again()
            for folder in spooled_runs(spool_root):
                try:
                    told += self._drain_run(folder)
                except UnknownRunError as error:
                    _log.info("%s", error)
            return told

    def _drain_run(self, folder: Path) -> int:
        """Tell the events of one run, segment by segment, and remove what is told for good."""
        cursor = Cursor.load(folder)
        cursor.move_to(self.place.uri)
        told = 0
        for segment in read_segments(folder):
            name = segment.path.name
            begin = cursor.told.get(name, 0)
            if len(segment.events) > begin:
                self._tell_segment(folder, cursor, segment.events[begin:])
                cursor.told[name] = len(segment.events)
                cursor.save(folder)
                told += len(segment.events) - begin
            if segment.is_full or is_foreign(folder) or not _is_owner_alive(segment):
                segment.path.unlink(missing_ok=True)
                cursor.told.pop(name, None)
        return told

    def _tell_segment(self, folder: Path, cursor: Cursor, events: list[Event]) -> None:
        """Tell events; where MLflow has lost what it was told before, begin anew with them."""
        from mlflow.exceptions import MlflowException

        teller = Teller(self._book, run_of(folder), cursor, folder.parent)
        if cursor.runs and not teller.is_known():
            self._book.forget()
            cursor.forget()
        points: dict[str, list[Metric]] = {}
        for event in events:
            try:
                if event["event"] == "metrics":
                    run = teller.run_id(event["stage"], event)
                    new = self._points.points(cursor, event, run)
                    points.setdefault(run, []).extend(new)
                    continue
                self._points.tell(points)
                points.clear()
                teller.tell(event)
            except MlflowException as error:
                if error.error_code not in _REFUSED:
                    raise
                points.clear()
                _log.warning("mlflow refuses %s of %s: %s", event["event"], folder.name, error)
        self._points.tell(points)


def _is_owner_alive(segment: Segment) -> bool:
    """Tell whether the process that writes a segment still runs (or one with its number)."""
    return Path("/proc", segment.path.stem.rpartition("-")[2]).exists()


def describe(error: Any) -> str:
    """Return the first line of an error: MLflow's have pages of them."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
