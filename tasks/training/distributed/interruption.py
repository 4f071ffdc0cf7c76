"""Being asked to stop: a signal becomes a checkpoint at the next step, then an exception."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from tasks.processes.termination import FirstInterrupt

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingInterrupted(KeyboardInterrupt):
    """A training stopped by SIGTERM or SIGINT with its state saved; it resumes where it was.

    It is no error, so nothing on the way takes it for a failure.
    """

    exit_code = 130


class StopSignal:
    """Notes the first SIGTERM or SIGINT while the block runs; a second one acts as before.

    Only the main thread can watch for signals; elsewhere nothing is ever requested.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        """The name of the signal that arrived, or None."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        """Start to watch."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signals back to whoever had them."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        before = self._before.get(number)
        self._give_back()
        if isinstance(before, FirstInterrupt):
            before.announce()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            # None: the handler was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
