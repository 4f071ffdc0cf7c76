"""Runs one program, and ends it with all its descendants: when told to, or when nobody is left.

Started by `child.child_process`, as a process of its own: a parent that is killed cannot clean up,
and the kernel's signal at a parent's death reaches children, not grandchildren. Standard library
and psutil only: it runs as a file by its path, where the project cannot be imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

_WAKE = 0.3
"""Seconds between two looks at whether the parent lives."""
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # of prctl(2)
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(parent: int, grace: float, command: list[str]) -> int:
    """Run a program to its end, to ours, or to the parent's.

    Args:
        parent: Number of the process for which the program runs.
        grace: Seconds the program has after SIGTERM, before SIGKILL.
        command: The program and its arguments.

    Returns:
        The program's exit status, 128 + n if signal n ended it.
    """
    # What loses its own parent becomes our child, so that nothing gets out of sight.
    ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOPS, signal.SIGCHLD})
    # Kept: a Popen that is forgotten reaps its child by itself, and the status would be lost.
    started = subprocess.Popen(command, preexec_fn=_as_child)
    program = started.pid
    status, asked = None, False
    while status is None and not asked and os.getppid() == parent:
        got = signal.sigtimedwait({*_STOPS, signal.SIGCHLD}, _WAKE)
        asked = got is not None and got.si_signo in _STOPS
        status = _reap(program)
    if status is None and asked:
        os.kill(program, signal.SIGTERM)
        status = _wait(program, grace)
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)
        found = _reap(program)
        status = found if status is None else status
    return 0 if status is None else status


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends, in whatever way.

    The parent may have ended before the call: who calls looks at `os.getppid()` afterwards.
    """
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, number)


def _as_child() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    die_with_parent()


def _wait(program: int, seconds: float) -> int | None:
    """Give the program time to end; its exit status, or None if it still runs."""
    end = time.monotonic() + seconds
    while (status := _reap(program)) is None and time.monotonic() < end:
        time.sleep(0.02)
    return status


def _reap(program: int) -> int | None:
    """Take notice of children that ended; the program's exit status if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == program:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
