"""Leases: one attempt at a time works on a key, and one that lost its lease cannot commit.

A lease is a file that names the owner and carries a token, which grows with every owner. The owner
beats: it renews a time stamp from a side thread. A lease is taken over at once when its owner is
dead and could be seen, else when its last beat is older than the time to live.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tasks.processes.identity import ProcessIdentity, current_process, machine_seconds
from tasks.processes.termination import unbroken
from tasks.settings.errors import StageError
from tasks.storage.fencing import Claim, holds_lease, read_lease, write_lease
from tasks.storage.locks import FileLock

_DEFAULT_TTL_SECONDS = 90.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks at a key that is held
_SAY_AGAIN_SECONDS = 60.0

_log = logging.getLogger("sparring.stages")


class LeaseLostError(StageError):
    """Another attempt took over; this one must stop and cannot commit."""


class SharedLease(Protocol):
    """The right to work on a key among all machines, as `Lease` needs to know it."""

    token: int

    def check(self) -> None:
        """Raise `LeaseLostError` if another machine holds the key now."""

    def release(self) -> None:
        """Give the key back; fine if it was lost."""


class Lease:
    """The right to work on one key, as long as its token is the newest.

    Attributes:
        token: Number of this attempt at the key, from 1.
    """

    def __init__(self, path: Path, token: int) -> None:
        """Hold an acquired lease and begin to beat; use `acquire_lease` instead."""
        self.path = path
        self.token = token
        self._shared: SharedLease | None = None
        self._stop = threading.Event()
        self._lost = threading.Event()
        threading.Thread(target=self._beat, name="lease", daemon=True).start()

    def check(self) -> None:
        """Raise `LeaseLostError` if another attempt holds the key now."""
        if self._lost.is_set() or not holds_lease(self.path, self.token):
            self._lost.set()
            raise LeaseLostError(
                f"attempt {self.token} at {self.path.stem[:16]} lost its lease: it was silent for "
                f"over {lease_ttl():g} s and another attempt took over; nothing of it is kept"
            )
        if self._shared is not None:
            self._shared.check()

    def share(self, shared: SharedLease) -> None:
        """Hold the key among all machines too; the attempt is numbered above all of theirs."""
        with FileLock(_lock_path(self.path)):
            self.check()
            self.token = max(self.token, shared.token)
            write_lease(self.path, _record(self.token))
        self._shared = shared

    @property
    def claim(self) -> Claim:
        """The right as plain values, for processes that work for this one."""
        return Claim(self.path, self.token)

    @property
    def is_first(self) -> bool:
        """Whether no machine has tried before, so that nobody has left anything on the remote."""
        return self._shared is not None and self._shared.token == 1

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Hold the key so that nobody can take over inside the block.

        Raises:
            LeaseLostError: When somebody has taken over already.
        """
        with FileLock(_lock_path(self.path)):
            self.check()
            yield

    def release(self) -> None:
        """Give the key back; fine if it was lost."""
        self._stop.set()
        if self._shared is not None:
            self._shared.release()
        _free(self.path, self.token)

    def _beat(self) -> None:
        """Renew the time stamp a few times per time to live until released or lost."""
        while not self._stop.wait(lease_ttl() / 6):
            try:
                with FileLock(_lock_path(self.path)):
                    if self._stop.is_set():
                        return
                    if not holds_lease(self.path, self.token):
                        self._lost.set()
                        return
                    write_lease(self.path, _record(self.token))
            except OSError as error:
                _log.warning("cannot renew the lease %s: %s", self.path.name, error)


def lease_ttl() -> float:
    """Return how many seconds an owner may be silent: 90, or `SPARRING_LEASE_TTL`."""
    return float(os.environ.get("SPARRING_LEASE_TTL") or _DEFAULT_TTL_SECONDS)


@contextmanager
def unclaimed(folder: Path, key: str) -> Iterator[bool]:
    """Keep everybody from taking a key inside the block; yields whether nobody works on it."""
    path = Path(folder) / f"{key}.json"
    with FileLock(_lock_path(path)):
        silent = owner_silence_of(read_lease(path))
        yield silent is None or silent > lease_ttl()


Result = TypeVar("Result")
Turn = TypeVar("Turn")


def acquire_lease(
    folder: Path, key: str, *, is_done: Callable[[], Result | None], say: Callable[[str], None]
) -> Lease | Result:
    """Wait for the right to work on a key here; arguments and answer are `wait_for_turn`'s."""
    path = Path(folder) / f"{key}.json"
    return wait_for_turn(lambda: _try_acquire(path), is_done=is_done, say=say)


def wait_for_turn(
    try_acquire: Callable[[], tuple[Turn | None, ProcessIdentity | None]],
    *,
    is_done: Callable[[], Result | None],
    say: Callable[[str], None],
) -> Turn | Result:
    """Try again and again to get a lease, more and more rarely.

    Args:
        try_acquire: Returns the lease; or None, and who holds it if that is known.
        is_done: Called while waiting; returns the result that the owner may have left, or None.
        say: Called from time to time with a sentence that says whom we wait for.

    Returns:
        The lease; or what `is_done` answered, when there is nothing left to do.
    """
    waited, pause, said = time.monotonic(), _FIRST_PAUSE, -_SAY_AGAIN_SECONDS
    while True:
        lease, owner = try_acquire()
        if lease is not None:
            return lease
        if (result := is_done()) is not None:
            return result
        if owner and time.monotonic() - said > _SAY_AGAIN_SECONDS:
            said = time.monotonic()
            say(f"waiting for {owner}, which works on it ({said - waited:.0f} s so far)")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def owner_silence_of(record: Mapping[str, Any]) -> float | None:
    """Return for how many seconds the owner of a lease on this machine's disk has not renewed it.

    Returns:
        Infinity when the owner is surely dead; None when nobody holds the key.
    """
    if "damaged" in record:
        return max(0.0, time.time() - float(record["damaged"]))
    if record["owner"] is None:
        return None
    owner = ProcessIdentity.from_json(record["owner"])
    if owner.is_known_dead():
        return math.inf
    same_boot = owner.boot == current_process().boot
    # The wall clock may be set; the machine's own is comparable within one boot only.
    return float(machine_seconds() - record["beat"] if same_boot else time.time() - record["time"])


def _try_acquire(path: Path) -> tuple[Lease | None, ProcessIdentity | None]:
    """Take a key that is free or whose owner is gone; else return the owner."""
    token = 0
    try:
        with unbroken(), FileLock(_lock_path(path)):
            record = read_lease(path)
            if (silent := owner_silence_of(record)) is not None:
                owner = ProcessIdentity.from_json(record["owner"]) if record["owner"] else None
                if silent <= lease_ttl():
                    return None, owner
                _log.warning("taking over from %s, which is gone", owner or "an unknown process")
            token = record["token"] + 1
            write_lease(path, _record(token))
        return Lease(path, token), None
    except BaseException:  # a signal came meanwhile
        if token:
            _free(path, token)
        raise


def _free(path: Path, token: int) -> None:
    """Give a key back whose lease has this token; it may be somebody else's by now."""
    with unbroken(), FileLock(_lock_path(path)):
        if holds_lease(path, token):
            write_lease(path, {"token": token, "owner": None})


def _record(token: int) -> dict[str, Any]:
    """Return the lease of this process, beating now."""
    owner = current_process().to_json()
    return {"token": token, "owner": owner, "beat": machine_seconds(), "time": time.time()}


def _lock_path(path: Path) -> Path:
    """Return the lock held while a lease's file is read and rewritten."""
    return path.with_suffix(".lock")
