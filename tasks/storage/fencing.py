"""Whose turn it is to work on a key: the file that the owner keeps, read by whoever must not go on.

`tasks/stages/leases/lease.py` writes it. A training process that the owner started reads it too,
before each checkpoint, because it may outlive the moment at which another machine took the key
over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.storage.errors import CorruptError
from tasks.storage.sealed import read_sealed, write_sealed

_log = logging.getLogger("sparring.storage")


class Claim(NamedTuple):
    """The right to work on a key as plain values that travel to another process."""

    path: Path
    """The lease's file."""
    token: int
    """Number of the attempt that holds it."""

    def holds(self) -> bool:
        """Tell whether nobody has taken over since."""
        return holds_lease(self.path, self.token)


def read_lease(path: Path) -> dict[str, Any]:
    """Read a lease's file; none is a free lease, a damaged one is held by somebody unknown.

    Returns:
        Its `token` and `owner`; where it is damaged `damaged` too: when it was last written, in
        seconds of the epoch. Its owner, if alive, writes it anew within a beat.
    """
    try:
        record = read_sealed(path)
        if {"token", "owner"} <= record.keys():
            return record
    except FileNotFoundError:
        return {"token": newest_token(path), "owner": None}
    except CorruptError as error:
        _log.warning("%s; until its owner must be dead it counts as held", error)
    return {"token": newest_token(path), "owner": None, "damaged": path.stat().st_mtime}


def newest_token(path: Path) -> int:
    """Return the highest number that was given to an attempt at a lease's key; 0 for none."""
    try:
        return int(read_sealed(_counter(path))["token"])
    except FileNotFoundError:
        # One from before there were counters; if it cannot be read itself, no number is above this.
        return int(time.time()) if path.exists() else 0
    except (CorruptError, KeyError, ValueError):
        return int(time.time())


def write_lease(path: Path, record: Mapping[str, Any]) -> None:
    """Write a lease's file, its number first: that must not come again if the file is damaged."""
    if not _counter(path).exists() or newest_token(path) != record["token"]:
        write_sealed(_counter(path), {"token": record["token"]})
    write_sealed(path, record)


def holds_lease(path: Path, token: int) -> bool:
    """Tell whether a token is still the newest of a lease's file."""
    record = read_lease(path)
    return record["token"] == token and (record["owner"] is not None or "damaged" in record)


def _counter(path: Path) -> Path:
    """Return the file that holds the newest number of a lease's key."""
    return path.with_suffix(".token")
