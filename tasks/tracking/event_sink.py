"""What a tracking backend must do with the spool's events, and which backend is used."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class EventSink(Protocol):
    """A tracking backend that spooled events are sent to.

    The events (`Spool`) speak of runs, stages, metrics, files and models, not of any backend. A
    backend gets them in the order they were spooled, and keeps in each run's spool folder how far
    it came. A kill may come in between, so it must take an event a second time without harm. A run
    that another home began is not known to it before that home's own events came.
    """

    def drain(self, spool_root: Path, *, wait_seconds: float = 0.0) -> int:
        """Take every event that is spooled and not yet taken; remove segments that are done.

        Args:
            spool_root: The home's spool folder.
            wait_seconds: How long to wait for another process that does the same.

        Returns:
            How many events were taken.

        Raises:
            LockTimeoutError: Another process does the same.
            Exception: Whatever the backend raises when it fails; no event is lost then.
        """


def open_sink(
    mlruns: Path, home_root: Path | None = None, known: EventSink | None = None
) -> EventSink:
    """Return the backend that events go to now, which is MLflow: another one is chosen here.

    Args:
        mlruns: Folder of MLflow's database, where neither `MLFLOW_TRACKING_URI` nor the home names
            a server.
        home_root: The state folder, which may have a server that `sparring up` keeps.
        known: What this returned before; it is kept while it is the right one.

    Raises:
        Exception: Whatever MLflow raises when it cannot be reached.
    """
    from tasks.tracking.mlflow_record import MlflowRecord, tracking_place

    place = tracking_place(mlruns, home_root)
    if isinstance(known, MlflowRecord) and known.place == place:
        place.knock()
        return known
    return MlflowRecord(place)
