"""Numbered durable operations, so that a test can fail or kill the process at each one of them.

`SPARRING_FAULT="kill@137"` sends this process SIGKILL just before its 137th durable operation;
`enospc@41` and `eio@7` make that one operation fail with the disk's own error.
"""

from __future__ import annotations

import errno
import os
import signal
import threading

_ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}
_lock = threading.Lock()
_count = 0


def fault_point(name: str) -> None:
    """Count one durable operation that is about to happen, and act if it is the chosen one.

    Raises:
        OSError: when `SPARRING_FAULT` names this number with `enospc` or `eio`.
        ValueError: when `SPARRING_FAULT` is not `kill@N`, `enospc@N` or `eio@N`.
    """
    global _count
    with _lock:
        _count += 1
        number = _count
    request = os.environ.get("SPARRING_FAULT")
    if request:
        _act(request, number, name)


def fault_count() -> int:
    """Return how many durable operations this process has begun."""
    return _count


def _act(request: str, number: int, name: str) -> None:
    """Do what `request` asks for if it asks for it at `number`."""
    action, _, at = request.partition("@")
    if action not in ("kill", *_ERRORS) or not at.isdigit():
        raise ValueError(
            f"SPARRING_FAULT is {request!r}; write kill@N, enospc@N or eio@N with N from 1"
        )
    if int(at) != number:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    code = _ERRORS[action]
    raise OSError(code, f"{os.strerror(code)} (asked for by SPARRING_FAULT={request})", name)
