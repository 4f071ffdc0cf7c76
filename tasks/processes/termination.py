"""SIGTERM ends a stage as Ctrl-C does: the body stops by an exception and state is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


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
