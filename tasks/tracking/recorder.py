"""A thread that tells MLflow what the spool holds while a flow runs.

MLflow is slow to import and may be down; neither ever delays or fails a stage. Nothing is imported
while there is nothing to tell.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.storage.errors import LockTimeoutError
from tasks.tracking.cursor import is_waiting
from tasks.tracking.spool import Spool, spooled_runs

if TYPE_CHECKING:
    from tasks.tracking.mlflow_record import MlflowRecord

INTERVAL_SECONDS = 2.0
"""Between two looks at the spool."""

_log = logging.getLogger("sparring.tracking")
_LONGEST_PAUSE_SECONDS = 60.0


class Recorder:
    """Drains a home's spool into MLflow in the background.

    Args:
        spool: the events of the run of this process.
        mlruns: folder of MLflow's database, unless `MLFLOW_TRACKING_URI` names a server.
    """

    def __init__(self, spool: Spool, mlruns: Path) -> None:
        self._spool = spool
        self._root = spool.folder.parent
        self._mlruns = Path(mlruns).absolute()
        self._record: MlflowRecord | None = None
        self._backlog = any(is_waiting(folder) for folder in spooled_runs(self._root))
        self._closing = threading.Event()
        self._pause = INTERVAL_SECONDS
        self._has_warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow-recorder", daemon=True)

    def start(self) -> None:
        """Begin to look at the spool."""
        self._thread.start()

    def close(self, timeout: float = 60.0) -> bool:
        """Tell the rest and end the thread.

        Args:
            timeout: seconds to wait; what is not told by then waits for the next run.

        Returns:
            Whether everything was told.
        """
        self._closing.set()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._backlog and not self._spool.has_news

    def _work(self) -> None:
        """Look at the spool until closed, then once more."""
        while not self._closing.wait(self._pause):
            self._drain()
        # The end of this run itself is news only for a run that MLflow has heard of.
        self._backlog = self._backlog or is_waiting(self._spool.folder)
        self._drain(wait_seconds=10.0)

    def _drain(self, wait_seconds: float = 0.0) -> None:
        """Tell what is new; a failure is said once and tried again after a longer pause."""
        if not (self._spool.has_news or self._backlog):
            return
        self._spool.has_news = False
        self._backlog = True
        try:
            if self._record is None:
                from tasks.tracking.mlflow_record import MlflowRecord, tracking_place

                self._record = MlflowRecord(tracking_place(self._mlruns))
            self._record.drain(self._root, wait_seconds=wait_seconds)
        except LockTimeoutError:
            return
        except Exception as error:  # whatever MLflow does, the work goes on
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            if not self._has_warned:
                _log.warning("mlflow cannot be told now, will try again later: %s", error)
                self._has_warned = True
            return
        self._backlog = False
        self._pause = INTERVAL_SECONDS
