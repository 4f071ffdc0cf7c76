"""Processes of this machine that outlive the one that started them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_SAME_START = 2.0
"""Seconds by which two readings of one process's start time may differ after a clock correction."""
_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started, kept so that it can be waited for."""


def start_detached(
    command: list[str],
    *,
    folder: Path,
    environment: dict[str, str],
    log: Path,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: signals to our group do not reach it.

    Args:
        command: The program and its arguments.
        folder: The program's current folder; what it writes is open to whom that is.
        environment: All of the program's environment.
        log: The file its output goes to, a program's own log and not a part of the store; what an
            earlier start left there is kept beside it as NAME.before.
        descriptors: Open files that the program gets, under the same numbers.
    """
    if log.exists():
        os.replace(log, log.with_name(f"{log.name}.before"))
    # It may quote an address with a password: nobody else on this machine reads it.
    with open(log, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
            umask=~os.stat(folder).st_mode & 0o077 | 0o002,
        )
    _children[child.pid] = child
    return child


def terminate(pid: int, *, with_children: bool = True) -> None:
    """End a process and its children politely, then firmly; returns when all are gone."""
    try:
        server = psutil.Process(pid)
        # The children first: a parent that is gone no longer says which they were.
        everyone = [*(server.children(recursive=True) if with_children else ()), server]
    except psutil.NoSuchProcess:
        return
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(everyone, timeout=10.0)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5.0)
    reap(pid)


def kill_orphans(pid: int) -> None:
    """Kill what a server started by `start_detached` left behind when it died without a word.

    Args:
        pid: Number of the dead server; its children still are in the session that it led. A process
            that has the number by now is left alone, and so is that process's session.
    """
    reap(pid)
    with suppress(psutil.NoSuchProcess):
        if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            return
    orphans = list(_session(pid))
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(orphans, timeout=5.0)


def was_killed(pid: int) -> bool:
    """Whether a child of this process, if it is one, was ended by a signal from outside."""
    child = _children.get(pid)
    return child is not None and (child.poll() or 0) < 0


def reap(pid: int) -> None:
    """Take notice of a dead child of this process, so that it does not stay as a zombie."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def identity(pid: int) -> dict[str, Any]:
    """Return what tells a process from a later one with the same number: `pid` and `started`."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def is_alive(process: dict[str, Any]) -> bool:
    """Whether the process of an `identity` still runs; False where nothing is on record."""
    try:
        found = psutil.Process(process["pid"])
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(abs(found.create_time() - process["started"]) < _SAME_START)
    except (psutil.Error, KeyError, ValueError):
        return False


def _session(leader: int) -> Iterator[psutil.Process]:
    """Yield the processes of a session."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                yield process
        except (ProcessLookupError, PermissionError):
            continue
