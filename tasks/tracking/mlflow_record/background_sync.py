"""A thread that sends what the spool holds to the tracking backend while a flow runs.

A backend is slow to import and may be down; neither ever delays or fails a stage. Nothing is
imported while there is nothing to send.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings.errors import SparringError
from tasks.storage.errors import LockTimeoutError, StorageError
from tasks.tracking.mlflow_record.connection import problem_of
from tasks.tracking.mlflow_record.cursor import is_waiting
from tasks.tracking.mlflow_record.helper_events import (
    drop_leftovers,
    pull_leftovers,
    push_leftovers,
)
from tasks.tracking.spool import Spool, spooled_runs

if TYPE_CHECKING:
    from tasks.tracking.event_sink import EventSink
    from tasks.tracking.remote.base import Remote

INTERVAL_SECONDS = 2.0
"""Between two looks at the spool."""

_log = logging.getLogger("sparring.tracking")
_LONGEST_PAUSE_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_HELPERS_PATIENCE_SECONDS = 10.0
_LONG_GONE_SECONDS = 300.0


class Recorder:
    """Drains a home's spool into the tracking backend in the background.

    Args:
        spool: The events of the run of this process.
        mlruns: Folder of MLflow's database, where neither `MLFLOW_TRACKING_URI` nor the home names
            a server.
        owns_run: Whether this process began the flow run; a helper only looks it up.
        remote: The remote on which helpers leave the events that they could not send.
        say: Is told once, in a sentence, that nothing can be sent now, and why.

    Attributes:
        problem: Why nothing can be sent now, in a sentence; empty while it can.
    """

    def __init__(
        self,
        spool: Spool,
        mlruns: Path,
        *,
        owns_run: bool = True,
        remote: Remote | None = None,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        """Look at what is spooled; `start` begins to send it."""
        self.problem = ""
        self._say = say
        self._spool = spool
        self._root = spool.folder.parent
        self._mlruns = Path(mlruns).absolute()
        self._owns_run, self._remote = owns_run, remote
        self._sink: EventSink | None = None
        self._backlog = any(is_waiting(folder) for folder in spooled_runs(self._root))
        self._closing = threading.Event()
        self._end = float("inf")
        self._last_synced = float("-inf")
        self._pause = INTERVAL_SECONDS
        self._has_warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow-recorder", daemon=True)

    def start(self) -> None:
        """Begin to look at the spool."""
        self._thread.start()

    def close(self, timeout: float = 60.0) -> bool:
        """Send the rest and end the thread.

        A backend that answered a while ago and does not now is waited for; one that was not there
        all the time is not.

        Args:
            timeout: Seconds to wait at the most; what is not sent by then waits for the next
                command, and a helper leaves it on the remote too.

        Returns:
            Whether everything was sent.
        """
        self._end = time.monotonic() + timeout
        self._closing.set()
        self._thread.join(timeout)
        is_sent = not self._thread.is_alive() and not self._backlog and not self._spool.has_news
        if not self._owns_run and self._remote is not None:
            try:
                push_leftovers(self._remote, self._root, self._spool.folder.name)
            except (SparringError, StorageError) as error:
                _log.warning("records wait here for the next command: %s", error)
        return is_sent

    def _work(self) -> None:
        """Look at the spool until closed, then send the rest."""
        while not self._closing.wait(self._pause):
            self._drain()
        # The end of this run itself is news only for a run that the backend knows.
        self._backlog = self._backlog or is_waiting(self._spool.folder)
        began = time.monotonic()
        while not self._drain(wait_seconds=5.0) and self._may_recover(began):
            time.sleep(_AGAIN_SECONDS)
        if self._owns_run and self._remote is not None and self._sink is not None:
            self._sync_helpers(self._remote)

    def _may_recover(self, began: float) -> bool:
        """Tell whether another try at the end is worth the wait."""
        now = time.monotonic()
        if not self._owns_run and now - began > _HELPERS_PATIENCE_SECONDS:
            return False
        return now < self._end and now - self._last_synced < _LONG_GONE_SECONDS

    def _sync_helpers(self, remote: Remote) -> None:
        """Send what helpers left on the remote."""
        run = self._spool.folder.name
        try:
            names = pull_leftovers(remote, self._root, run)
            if names:
                self._backlog = True
                self._drain(wait_seconds=5.0)
                drop_leftovers(remote, self._root, run, names)
        except (SparringError, StorageError) as error:
            _log.warning("what helpers left to be logged stays on the remote: %s", error)

    def _drain(self, wait_seconds: float = 0.0) -> bool:
        """Send what is new; a failure is said once and tried again after a longer pause.

        Returns:
            Whether nothing is left to be sent now.
        """
        if not (self._spool.has_news or self._backlog):
            return True
        self._spool.has_news = False
        self._backlog = True
        try:
            self._send(wait_seconds)
        except LockTimeoutError:
            return False
        except Exception as error:  # whatever the backend does, the work goes on
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self.problem = problem_of(error)
            if not self._has_warned:
                self._say(f"it takes no records now, they wait here: {self.problem}")
                self._has_warned = True
            return False
        self.problem = ""
        self._pause = INTERVAL_SECONDS
        self._last_synced = time.monotonic()
        # A helper is not done before the backend knows the run that it helps.
        self._backlog = not self._owns_run and is_waiting(self._spool.folder)
        return not self._backlog

    def _send(self, wait_seconds: float) -> None:
        """Connect to the backend that is the right one now, and send it everything."""
        from tasks.tracking.event_sink import open_sink

        self._sink = open_sink(self._mlruns, self._root.parent, self._sink)
        self._sink.drain(self._root, wait_seconds=wait_seconds)
