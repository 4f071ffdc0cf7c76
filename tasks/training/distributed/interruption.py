"""Being asked to stop: a signal becomes a checkpoint at the next step, then an exception."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from tasks.processes.termination import (
    FirstInterrupt,
    give_back,
    handle_stops,
    leave_lost_terminal,
    unheeded,
)


class TrainingInterrupted(KeyboardInterrupt):
    """A training stopped by a signal with its state saved; it resumes where it was.

    It is no error, so nothing on the way takes it for a failure.
    """

    exit_code = 130


class StopSignal:
    """Notes the first signal to stop while the block runs; a second one acts as before.

    Only the main thread can watch for signals; elsewhere nothing is ever requested.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        """The name of the signal that arrived, or None."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        """Start to watch; a signal that was lost while the training was made ready counts."""
        self._before = handle_stops(self._note)
        self.requested = unheeded()
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signals back to whoever had them."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        leave_lost_terminal()
        before = self._before.get(signal.SIGINT)  # SIGTERM may be Prefect's meanwhile
        self._give_back()
        if isinstance(before, FirstInterrupt):
            before.announce()

    def _give_back(self) -> None:
        give_back(self._before)
        self._before = {}
