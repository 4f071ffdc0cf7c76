"""Being told to end: SIGTERM acts as Ctrl-C does, and the first Ctrl-C says what happens now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


class Cancelled(KeyboardInterrupt):
    """The work was cancelled on a page of Prefect's."""


class FirstInterrupt:
    """Handles SIGINT during the block: says at the first one what happens, and interrupts.

    Whoever handles the signal inside the block, as a training does, calls `announce` itself.
    Outside the main thread it does nothing.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say: Callable[[], None] | None = say

    def __enter__(self) -> FirstInterrupt:
        """Begin to handle the signal."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self)
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signal back to whoever had it."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt whatever runs now."""
        self.announce()
        raise KeyboardInterrupt

    def announce(self) -> None:
        """Say it, once; from a thread, as the signal may have come in the middle of a print."""
        say, self._say = self._say, None
        if say is not None:
            threading.Thread(target=say, daemon=True).start()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM, unless somebody else handles that signal."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    """Stop whatever runs now."""
    raise Terminated(f"ended by {signal.Signals(number).name}")
