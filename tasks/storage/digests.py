"""Digests of values, files and folders; a folder's MD5 is the one DVC gives it.

SHA-256 guards against damage and names stages; MD5 is only there because DVC names data by it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.storage.errors import StorageError
from tasks.storage.plain import json_text
from tasks.storage.sealed import read_sealed, write_sealed
from tasks.storage.trees import walk_tree

_CHUNK = 1 << 20
_PACKAGES = ("flows", "tasks")
_UNSETTLED_NS = 2_000_000_000
_MOST_ENTRIES = 50_000


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What one file held when it was read."""

    path: str
    """Relative posix path."""
    size: int
    """Bytes."""
    md5: str
    """Hex."""
    sha256: str
    """Hex."""


def canonical_json(obj: Any) -> bytes:
    """Write plain values as JSON in the one way that two processes agree on.

    Raises:
        TypeError: for a value that is not plain (nan, a set, a key that is not str …), naming it.

    Example:
        >>> canonical_json({"b": (1, 2.5), "a": None})
        b'{"a":null,"b":[1,2.5]}'
    """
    return json_text(obj).encode()


def sha256_json(obj: Any) -> str:
    """Return the SHA-256 (hex) of `canonical_json(obj)`; raises as that does."""
    return hashlib.sha256(canonical_json(obj)).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes, for checks that have no use for its MD5."""
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def digest_file(path: Path, *, relative: str | None = None) -> FileDigest:
    """Read a file once for both of its digests, recorded under its own name or `relative`.

    Raises:
        StorageError: when somebody wrote into the file meanwhile.
    """
    path = Path(path)
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    with open(path, "rb", buffering=0) as data:
        before = os.fstat(data.fileno())
        while chunk := data.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
        after = os.fstat(data.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageError(f"{path} changed while it was being read; let its writer finish first")
    return FileDigest(relative or path.name, after.st_size, md5.hexdigest(), sha256.hexdigest())


def digest_tree(folder: Path, *, table: DigestTable | None = None) -> list[FileDigest]:
    """Digest every file of a folder.

    Args:
        folder: holds plain files and folders only; empty folders leave no trace.
        table: answers for files that did not change since it saw them.

    Returns:
        One digest per file, sorted by relative path.

    Raises:
        StorageError: when the folder is missing, holds a link or device, or changes meanwhile.
    """
    digest = table.digest if table is not None else digest_file
    return [digest(Path(folder, name), relative=name) for name in walk_tree(Path(folder))[0]]


def directory_md5(files: Iterable[FileDigest]) -> str:
    """Return the name DVC gives to a folder with these files: the list's MD5 and `.dir`."""
    return hashlib.md5(directory_listing(files), usedforsecurity=False).hexdigest() + ".dir"


def directory_listing(files: Iterable[FileDigest]) -> bytes:
    """Return DVC's list of a folder's files: default JSON of their MD5s and paths, by path.

    `Tree.as_bytes` in dvc-data 3 writes it so.
    """
    entries = [{"md5": file.md5, "relpath": file.path} for file in files]
    entries.sort(key=lambda entry: entry["relpath"])
    return json.dumps(entries, sort_keys=True).encode()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return the SHA-256 (hex) of the code that this process runs, as it was when first asked."""
    return digest_of_code(Path(__file__).resolve().parents[2])


def digest_of_code(folder: Path) -> str:
    """Return the SHA-256 (hex) of `flows` and `tasks` in a folder: their modules and data files.

    Line ends count as one kind, for git may write them in either. Hidden files and what Python
    compiled are left out.
    """
    whole = hashlib.sha256()
    for path in sorted(path for name in _PACKAGES for path in (folder / name).rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if hidden or path.suffix == ".pyc" or not path.is_file():
            continue
        content = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        whole.update(f"{'/'.join(parts)} {content}\n".encode())
    return whole.hexdigest()


class DigestTable:
    """Remembers digests by path, size, times and inode, so that big files are read once.

    It is a cache under a seal: a lost or damaged table costs time only. Call `save` to keep what
    it learnt.
    """

    def __init__(self, path: Path) -> None:
        """Open the table kept in the JSON file `path`, which need not exist."""
        self._path = Path(path)
        self._known = self._load()
        self._learnt: dict[str, list[Any]] = {}

    def digest(self, path: Path, *, relative: str | None = None) -> FileDigest:
        """Return what `digest_file` would, from memory when the file did not change."""
        key = str(Path(path).absolute())
        stamp = _stamp(os.stat(path))
        entry = self._learnt.get(key) or self._known.get(key)
        if entry is not None and entry[: len(stamp)] == stamp:
            return FileDigest(relative or Path(path).name, *entry[len(stamp) - 1 :])
        digest = digest_file(path, relative=relative)
        # A file written this very moment may be written again within the clock's tick.
        settled = time.time_ns() - max(stamp[0], stamp[1]) > _UNSETTLED_NS
        if settled and _stamp(os.stat(path)) == stamp:
            self._learnt[key] = [*stamp, digest.md5, digest.sha256]
        return digest

    def save(self) -> None:
        """Write what was learnt, keeping what other processes wrote meanwhile."""
        if not self._learnt:
            return
        merged = {**self._load(), **self._learnt}
        write_sealed(self._path, {"files": dict(list(merged.items())[-_MOST_ENTRIES:])})
        self._known, self._learnt = merged, {}

    def _load(self) -> dict[str, list[Any]]:
        """Read the table, or start an empty one."""
        try:
            # One from before it was sealed has no such field, and is not believed.
            table = read_sealed(self._path).get("files")
        except (OSError, StorageError):
            return {}
        return table if isinstance(table, dict) and all(map(_is_entry, table.values())) else {}


def _stamp(status: os.stat_result) -> list[int]:
    """Return what changes when a file changes: change and content time, inode, size."""
    return [status.st_ctime_ns, status.st_mtime_ns, status.st_ino, status.st_size]


def _is_entry(entry: Any) -> bool:
    """Tell whether a value of the table is a stamp and two digests."""
    return isinstance(entry, list) and [type(item) for item in entry] == [int] * 4 + [str] * 2
