"""The ledger's records on a remote: one log that several machines write, batch after batch.

A batch is an object with a number, written only if that number is free. Who finds it taken reads
what the other wrote, thinks again, and tries the next: so nobody asks a paid server, or spends of a
budget, without knowing all that was written before.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from tasks.storage.errors import CorruptError
from tasks.storage.sealed import sealed_json, unsealed_json

FOLDER = "ledger/"
"""Where the batches lie on the remote."""
_READERS = 16


class SharedObjects(Protocol):
    """What is wanted of a remote."""

    url: str
    """Where it is."""

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one; of many callers at once exactly one gets True."""

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""

    def names(self, prefix: str) -> list[str]:
        """Return the full names that begin with `prefix`, sorted."""


class SharedLog:
    """The batches on a remote."""

    def __init__(self, remote: SharedObjects) -> None:
        self._remote = remote
        self.url = remote.url

    def append(self, number: int, records: list[dict[str, Any]]) -> bool:
        """Write a batch under its number; False: another machine was first.

        Raises:
            StorageError: The remote does not do it; it may have been written all the same.
        """
        return self._remote.put_if_absent(_name(number), sealed_json({"records": records}).encode())

    def read(self, after: int) -> list[list[dict[str, Any]]]:
        """Return the batches behind a number, in order.

        Raises:
            CorruptError: One is damaged or missing, naming it.
        """
        if self._remote.get(_name(after + 1)) is None:
            return []
        names = [name for name in self._remote.names(FOLDER) if name > _name(after)]
        with ThreadPoolExecutor(_READERS) as threads:
            found = list(threads.map(self._remote.get, names))
        for number, (name, data) in enumerate(zip(names, found, strict=True), after + 1):
            if data is None or name != _name(number):
                raise CorruptError(
                    f"{self.url}/{_name(number)} of the ledger is missing: restore it"
                )
        return [
            list(unsealed_json(data or b"", f"{self.url}/{name}")["records"])
            for name, data in zip(names, found, strict=True)
        ]


def _name(number: int) -> str:
    return f"{FOLDER}{number:010d}.json"
