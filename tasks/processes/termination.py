"""Being told to end: SIGTERM and SIGHUP act as Ctrl-C does, and nothing stays half done."""

from __future__ import annotations

import errno
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tasks.settings.errors import SparringError

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_came: list[str] = []
"""Names of the signals that have interrupted this process."""
_begun: list[int] = []
"""How many had come when each `heeding_stops` of the main thread began, the outermost first."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM or SIGHUP."""


class Cancelled(KeyboardInterrupt):
    """The work was cancelled on a page of Prefect's."""


class FirstInterrupt:
    """Handles the signals that stop a process during the block: says at the first what happens.

    Whoever handles a signal inside the block, as a training does, calls `announce` itself.
    Outside the main thread it does nothing.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say: Callable[[], None] | None = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> FirstInterrupt:
        """Begin to handle the signals."""
        self._before = handle_stops(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signals back to whoever had them."""
        give_back(self._before)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt whatever runs now."""
        self.announce()
        interrupt(number, frame)

    def announce(self) -> None:
        """Say it, once; from a thread, as the signal may have come in the middle of a print."""
        say, self._say = self._say, None
        if say is not None:
            threading.Thread(target=say, daemon=True).start()


def stop_alike() -> None:
    """Let SIGTERM and SIGHUP stop this process as Ctrl-C does, from now on; `heeding_stops` helps.

    Outside the main thread it does nothing.
    """
    handle_stops(interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Stop whatever runs now, as the handler of a signal.

    Raises:
        KeyboardInterrupt: Always; `Terminated` where it was not Ctrl-C.
    """
    _came.append(signal.Signals(number).name)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    leave_lost_terminal()
    raise Terminated(f"ended by {signal.Signals(number).name}")


def handle_stops(handler: Any) -> dict[int, Any]:
    """Handle the signals that stop a process, and return their handlers before, for `give_back`.

    Only the main thread can; elsewhere nothing happens. SIGHUP is left alone where it is ignored,
    as under `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted = _STOPS[:-1] if ignored else _STOPS
    return {number: signal.signal(number, handler) for number in wanted}


def give_back(handlers: dict[int, Any]) -> None:
    """Let signals be handled as they were before `handle_stops`."""
    for number, handler in handlers.items():
        # None: the handler was not installed from Python and cannot be put back.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def heeding_stops() -> Iterator[None]:
    """Let what a signal stopped in the block end as a stop, whatever became of the interrupt.

    Libraries that call back, as pydantic does, turn it into an error of their own; others catch all
    that an import raises, and where Python destroys an object it is lost. Then the block ends at
    its end, or where the next one inside it begins.

    Raises:
        KeyboardInterrupt: Instead of an error that is not ours, or of nothing, after a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _raise_unheeded()
    _begun.append(len(_came))
    try:
        yield
        _raise_unheeded()
    except Exception as error:
        if len(_came) > _begun[-1] and not isinstance(error, SparringError):
            raise KeyboardInterrupt(*error.args) from error
        raise
    finally:
        _begun.pop()


def unheeded() -> str | None:
    """Return the signal that was to stop what this thread does and did not, None for none."""
    in_main = threading.current_thread() is threading.main_thread()
    return _came[-1] if in_main and _begun and len(_came) > _begun[0] else None


def _raise_unheeded() -> None:
    if number := unheeded():
        raise KeyboardInterrupt(f"ended by {number}, which something had kept to itself")


@contextmanager
def unbroken() -> Iterator[None]:
    """Let a short block come to its end before a signal stops this process.

    For what would leave something behind if it ended in the middle: a server that nobody knows, a
    run that stays `running`.
    """
    came: list[int] = []
    before = handle_stops(lambda number, frame: came.append(number))
    try:
        yield
    finally:
        give_back(before)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM, unless somebody else handles that signal."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_lost_terminal() -> None:
    """Write to nowhere from now on what would go to a terminal that was closed."""
    for stream in range(3):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # and not: this is no terminal
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, stream)
                os.close(nowhere)
