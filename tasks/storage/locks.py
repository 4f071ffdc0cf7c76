"""Locks between processes, held by the kernel: they end with their holder, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from tasks.storage.durable import open_as_folder
from tasks.storage.errors import LockTimeoutError

_PAUSE = 0.02


class FileLock:
    """One holder at a time on one machine, as a `with` block.

    Two objects for one path exclude each other, in one process as well. The file stays behind:
    removing it would let two processes hold locks on two files of one name.
    """

    def __init__(self, path: Path, timeout: float | None = None) -> None:
        """Prepare a lock; nothing is touched before the `with` block.

        Args:
            path: the lock's file; its folder is made.
            timeout: seconds to wait for another holder; None waits for ever, 0 tries once.
        """
        self._path = Path(path)
        self._timeout = timeout
        self._descriptor: int | None = None

    def __enter__(self) -> FileLock:
        """Wait for the lock; raises `LockTimeoutError` naming the holder."""
        if self._descriptor is not None:
            raise RuntimeError(f"this object already holds {self._path}; make another one")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            open_as_folder(descriptor, self._path.parent)
            self._wait(descriptor)
            self._sign(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(self, *error: object) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None

    def fileno(self) -> int:
        """Return the descriptor that holds it: a process that inherits that holds it too."""
        assert self._descriptor is not None, "only inside the block"
        return self._descriptor

    def _wait(self, descriptor: int) -> None:
        """Try until the kernel grants the lock or the time is over."""
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    holder = _holder(descriptor)
                    raise LockTimeoutError(
                        f"{self._path} is held by {holder}; waited {self._timeout:g} s; wait for "
                        "it or end that process",
                        holder,
                    ) from None
            time.sleep(_PAUSE)

    def _sign(self, descriptor: int) -> None:
        """Write who holds the lock, for the others' message only."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({"pid": os.getpid(), "since": since})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def lock_holder(path: Path) -> str:
    """Return who holds a lock now, for a message; empty for nobody. Nothing is written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Describe who signed the lock's file."""
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not signed it yet"
