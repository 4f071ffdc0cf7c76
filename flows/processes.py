"""Processes of this machine that outlive the one that started them."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tasks.settings.errors import StageError

_SAME_START = 2.0
"""Seconds by which two readings of one process's start time may differ after a clock correction."""
_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started, kept so that it can be waited for."""


def start_detached(
    command: list[str], *, folder: Path, environment: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: signals to our group do not reach it.

    Args:
        command: the program and its arguments.
        folder: its current folder.
        environment: all of its environment.
        log: the file its output replaces; a program's own log, not a part of the store.

    Returns:
        The running child.
    """
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return child


def terminate(pid: int) -> None:
    """End a server politely, then firmly; returns when it is gone."""
    try:
        server = psutil.Process(pid)
        everyone = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    server.terminate()
    _, left = psutil.wait_procs(everyone, timeout=10.0)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5.0)
    if child := _children.pop(pid, None):
        child.wait(timeout=5.0)


def free_port(wish: int | None) -> int:
    """Return a free port of the loopback address.

    Args:
        wish: the port to take if it is free.

    Raises:
        StageError: no port is free.
    """
    for port in (wish or 0, 0):
        with socket.socket() as probe:
            # As the server does: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StageError("no free port on 127.0.0.1")


def identity(pid: int) -> dict[str, Any]:
    """Return what tells a process from a later one with the same number: `pid` and `started`."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def is_alive(process: dict[str, Any]) -> bool:
    """Whether the process of an `identity` still runs."""
    try:
        found = psutil.Process(process.get("pid", -1))
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(found.create_time() - process["started"]) < _SAME_START
    except (psutil.NoSuchProcess, ValueError):
        return False
