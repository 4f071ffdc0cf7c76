"""The finished parts of unfinished work on the remote, so that a lost machine loses little.

A part lies in `work/KEY/NAME/ATTEMPT/`, and `work/KEY/NAME.json`, written last, makes it one. Each
attempt writes below a number of its own: one that was superseded in the middle of an upload cannot
mix its files with another's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.stages.remote.layout import read_object, work_folder, write_object
from tasks.storage.errors import CorruptError
from tasks.storage.files import safe_join
from tasks.storage.parts import FileRecord
from tasks.tracking.remote.base import Remote, RemoteError


class RemoteParts:
    """The parts of one key as the workspace of one attempt mirrors them.

    Args:
        remote: The remote that holds the parts.
        key: The stage's key.
        attempt: Number of the attempt that writes.
        is_empty: Whether nothing can be there yet, which saves asking.
    """

    def __init__(self, remote: Remote, key: str, attempt: int, *, is_empty: bool = False) -> None:
        self._remote = remote
        self._folder = work_folder(key)
        self._attempt = f"{attempt:06d}"
        self._is_empty = is_empty

    def available(self) -> list[str]:
        """Return the names of the parts that are whole there."""
        if self._is_empty:
            return []
        names = self._remote.names(self._folder)
        self._is_empty = not names
        return part_names(names, self._folder)

    def fetch(self, name: str, folder: Path) -> list[FileRecord]:
        """Fill an empty folder with a part and return what was recorded of its files.

        Raises:
            CorruptError: When a file or its record is damaged or gone.
        """
        record = self._record(name)
        if record is None:
            raise CorruptError(f"{self._folder}{name}.json is gone")
        for file in record["files"]:
            source = f"{self._folder}{name}/{record['attempt']}/{file['path']}"
            try:
                self._remote.download(source, safe_join(folder, file["path"]))
            except RemoteError as error:
                if self._remote.content(source) is not None:  # raises while the remote is out
                    raise CorruptError(str(error)) from error
                raise CorruptError(f"{source} is gone") from error
        return list(record["files"])

    def saved(self, name: str, folder: Path, files: list[FileRecord]) -> None:
        """Copy a part there, replacing one of that name."""
        self._is_empty = False
        place = f"{self._folder}{name}/{self._attempt}"
        for file in files:
            self._remote.upload(f"{place}/{file['path']}", folder / file["path"])
        record = {"attempt": self._attempt, "files": files}
        write_object(self._remote, f"{self._folder}{name}.json", record)

    def dropped(self, name: str) -> None:
        """Remove a part there, its record first; what a later attempt wrote stays."""
        try:
            record = self._record(name)
        except CorruptError:
            record = {"attempt": ""}
        if record is not None and record["attempt"] <= self._attempt:
            self._remote.delete(f"{self._folder}{name}.json")
        place = f"{self._folder}{name}/"
        for file in self._remote.names(place):
            if file.removeprefix(place).partition("/")[0] <= self._attempt:
                self._remote.delete(file)

    def clear(self) -> None:
        """Remove everything there: the work is done."""
        if not self._is_empty:
            clear_parts(self._remote, self._folder)

    def _record(self, name: str) -> dict[str, Any] | None:
        """Return what was written of a part; raises `CorruptError` when it is damaged."""
        record = read_object(self._remote, f"{self._folder}{name}.json")
        if record is not None and not {"attempt", "files"} <= record.keys():
            raise CorruptError(f"{self._folder}{name}.json has no list of files")
        return record


def part_names(names: list[str], folder: str) -> list[str]:
    """Return the parts among the names of what lies in a key's folder of finished parts."""
    inside = [name.removeprefix(folder) for name in names]
    return [name.removesuffix(".json") for name in inside if "/" not in name]


def clear_parts(remote: Remote, folder: str) -> None:
    """Remove a key's finished parts, their records first."""
    names = remote.names(folder)
    for name in sorted(names, key=lambda name: name.count("/")):
        remote.delete(name)
