"""Whose turn it is to work on a key: the file that the owner keeps, read by whoever must not go on.

`tasks/stages/leases/lease.py` writes it. A training process that the owner started reads it too,
before each checkpoint, because it may outlive the moment at which another machine took the key
over.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from tasks.storage.errors import CorruptError
from tasks.storage.files import read_json

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
    """Read a lease's file; none, or a damaged one, is a free lease."""
    try:
        record = read_json(path)
    except FileNotFoundError:
        return {"token": 0, "owner": None}
    except CorruptError as error:
        _log.warning("%s; it is taken as free", error)
        return {"token": 0, "owner": None}
    assert isinstance(record, dict)
    return record


def holds_lease(path: Path, token: int) -> bool:
    """Tell whether a token is still the newest of a lease's file."""
    record = read_lease(path)
    return record["token"] == token and record["owner"] is not None
