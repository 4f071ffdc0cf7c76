"""What a part is on disk: a folder, and beside it a file that lists its files with digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tasks.storage.digests import sha256_file
from tasks.storage.errors import StorageError
from tasks.storage.sealed import read_sealed
from tasks.storage.trees import walk_tree

FileRecord = dict[str, Any]
"""What a part's file records of each of its files: `path`, `size` and `sha256`."""


class PartMirror(Protocol):
    """Keeps a second copy of the parts of one key where another machine finds them."""

    def available(self) -> list[str]:
        """Return the names of the parts that are whole there."""

    def fetch(self, name: str, folder: Path) -> list[FileRecord]:
        """Fill an empty folder with a part and return what was recorded of its files.

        Raises:
            CorruptError: when it is not whole there.
        """

    def saved(self, name: str, folder: Path, files: list[FileRecord]) -> None:
        """Copy a part there, replacing one of that name."""

    def dropped(self, name: str) -> None:
        """Remove a part there; none of that name is fine."""


def describe_files(folder: Path) -> list[FileRecord]:
    """Return what a part's file records: path, size and SHA-256 of each of its files."""
    return [
        {"path": name, "size": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in walk_tree(folder)[0]
    ]


def part_damage(parts: Path, name: str, *, deep: bool) -> str:
    """Say what is wrong with a part, or nothing; `deep` compares SHA-256 besides sizes."""
    try:
        return difference_of(parts / name, read_sealed(parts / f"{name}.json")["files"], deep=deep)
    except FileNotFoundError:
        return f"{name}.json is missing"
    except (StorageError, KeyError, TypeError) as error:
        return f"{name}.json or its folder cannot be read ({error})"


def difference_of(folder: Path, files: list[FileRecord], *, deep: bool) -> str:
    """Say in what a folder is not as recorded, or nothing; `deep` as in `part_damage`."""
    expected = {entry["path"]: (entry["size"], entry["sha256"]) for entry in files}
    if odd := set(walk_tree(folder)[0]) ^ set(expected):
        return f"{sorted(odd)[0]} is missing or was not part of it"
    for relative, (size, sha256) in expected.items():
        path = folder / relative
        if path.stat().st_size != size:
            return f"{relative} has {path.stat().st_size} bytes, expected {size}"
        if deep and sha256_file(path) != sha256:
            return f"{relative} does not have the SHA-256 it was saved with"
    return ""
