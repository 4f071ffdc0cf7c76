"""A watch over work that must show progress: if none comes, the work is given up, not waited for.

A computation can hang in a driver, a library or a server, where no exception can reach it. So the
work runs in a thread of its own: the caller keeps the stage, leaves the stacks in the log and
raises, and a retry can mend it.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

from tasks.settings.errors import StageError

T = TypeVar("T")

_GRACE_SECONDS = 2.0
_LOOKS = 20  # how often the watch looks within the time allowed


class Heartbeat:
    """What watched work calls whenever it has made progress."""

    def __init__(self) -> None:
        """Start counting."""
        self.steps = 0
        """Beats so far."""
        self.last = time.monotonic()
        """When the last one came."""
        self.abandoned = False
        """Whether nobody waits for the work any more."""

    def beat(self, units: int = 1) -> None:
        """Say that the work has made progress, however much, so that it does not count as stuck.

        Raises:
            AbandonedError: The work was given up: it may end.
        """
        if self.abandoned:
            raise AbandonedError
        self.steps += 1
        self.last = time.monotonic()


class AbandonedError(BaseException):
    """Ends work that nobody waits for; no handler of the work's own errors catches it."""


def watch(
    work: Callable[[Heartbeat], T], *, stall_seconds: float, name: str, note: Callable[[str], None]
) -> T:
    """Run work in a thread and return what it returns, or raise what it raises.

    Args:
        work: Gets the heartbeat to call whenever it got on.
        stall_seconds: Longest time without a beat, seconds.
        name: What is running, for the message.
        note: Is told the stacks of all threads if it stalls.

    Raises:
        StageError: Nothing came for so long; names the work and how many steps it had made.
    """
    heartbeat = Heartbeat()
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work(heartbeat))
        except AbandonedError:
            pass
        except BaseException as error:  # whatever it is belongs to the caller
            errors.append(error)
        finally:
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name=name, daemon=True)
    thread.start()
    try:
        while not done.wait(stall_seconds / _LOOKS):
            if time.monotonic() - heartbeat.last > stall_seconds:
                note(f"{name} is stuck; the stacks of all threads:\n{_stacks()}")
                raise StageError(
                    f"{name} gave no token for {stall_seconds:g} s after step {heartbeat.steps}: "
                    "the stacks of all threads are in the log. Run it again, or raise "
                    "stall_seconds if a step may take so long"
                )
    finally:
        # The caller may leave for a reason of its own, such as a signal. The process should not
        # end in the middle of a computation that is about to.
        heartbeat.abandoned = True
        thread.join(_GRACE_SECONDS)
    if errors:
        raise errors[0]
    return results[0]


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
