"""Which files of an output were read and found to be what its manifest says, so that each is once.

For each output a small sealed file keeps, per file, the digest and the times, inode and size at
which it held. Whatever writes into a file changes one of them, and then it is read again. What the
disk changes without a write is found by `--verify` alone, which reads everything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.storage.digests import FileDigest, sha256_file
from tasks.storage.errors import StorageError
from tasks.storage.sealed import read_sealed, write_sealed


def damage_of(
    folder: Path, files: Sequence[FileDigest], record: Path, *, again: bool = False
) -> dict[str, str]:
    """Compare files with their digests, reading those that changed since they were read last.

    Args:
        folder: The output.
        files: What its files must be, with paths relative to it.
        record: The file that remembers what was read.
        again: Read all of them, whatever is remembered.

    Returns:
        By path a sentence for each that is missing or not what it must be.
    """
    known = {} if again else _known(record)
    problems, learnt = {}, {}
    for file in files:
        path = folder / file.path
        try:
            entry = _entry(file, path)
            if entry[3] != file.size:
                problems[file.path] = f"{file.path} has {entry[3]} bytes, expected {file.size}"
            elif known.get(file.path) == entry:
                continue
            elif sha256_file(path) == file.sha256:
                learnt[file.path] = entry
            else:
                problems[file.path] = f"{file.path} does not have the SHA-256 it was committed with"
        except OSError as error:
            is_gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
            what = "is missing" if is_gone else f"cannot be read ({error.strerror})"
            problems[file.path] = f"{file.path} {what}"
    if learnt or (again and problems):
        _keep(record, {**known, **learnt})
    return problems


def remember(folder: Path, files: Sequence[FileDigest], record: Path) -> None:
    """Remember files that were digested as they were written: nobody has to read them again."""
    with suppress(OSError):
        _keep(record, {file.path: _entry(file, folder / file.path) for file in files})


def _entry(file: FileDigest, path: Path) -> list[Any]:
    """Return what is remembered of a file as it is now."""
    status = os.stat(path)
    return [status.st_ctime_ns, status.st_mtime_ns, status.st_ino, status.st_size, file.sha256]


def _known(record: Path) -> dict[str, Any]:
    """Return what is remembered; nothing where the record is damaged, which costs time only."""
    try:
        return read_sealed(record)
    except (OSError, StorageError):
        return {}


def _keep(record: Path, values: dict[str, Any]) -> None:
    """Write what is remembered, unless the store may only be read."""
    with suppress(OSError, StorageError):
        write_sealed(record, values)
