"""The inside of one attempt at a stage: its output, and the finished parts a kill cannot take.

A part is a folder that was digested, synced and renamed into `parts/NAME`, and then named by
`parts/NAME.json`, which is written last. A shard of samples is a part; a training checkpoint is a
part named like `step-00000120`. The next attempt adopts the parts that are still undamaged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tasks.storage.digests import sha256_file
from tasks.storage.durable import clear_disk_errors, make_folder, rename, sync_directory
from tasks.storage.errors import StorageError, UnsafePathError
from tasks.storage.files import link_or_copy, read_json, remove_tree, write_json
from tasks.storage.trees import sync_tree, walk_tree

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_UNFINISHED = "tmp-"


def _no_guard() -> None:
    """Let every save pass."""


class Workspace:
    """The folder one attempt works in.

    Attributes:
        path: the attempt's folder, `work/KEY/attempt-N`.
        output: the folder whose content becomes the artifact.
        parts: the folder of finished parts.
        guard: called before anything is kept; raises when another attempt took over.
    """

    def __init__(self, path: Path, guard: Callable[[], None] = _no_guard) -> None:
        """Open the workspace in `path`, making its folders."""
        self.path = Path(path)
        self.guard = guard
        self.output = self.path / "output"
        self.parts = self.path / "parts"
        with clear_disk_errors(self.path):
            make_folder(self.parts)
            # Nothing lasts in the output before the commit, so its name need not either.
            self.output.mkdir(exist_ok=True)

    def save_part(self, name: str, write: Callable[[Path], None]) -> Path:
        """Keep what `write` puts into a folder; from then on it is there whole or not at all.

        Args:
            name: letters, digits, dots, hyphens and underscores; a part of that name is replaced.
            write: fills the empty folder it is given.

        Returns:
            The finished part's folder; treat it as read-only.

        Raises:
            DiskError: when the disk refuses; no trace of the part remains then.
        """
        return self._keep(_checked(name), write)

    def part(self, name: str) -> Path | None:
        """Return the folder of a finished part whose files are there in full size, or None."""
        problem = _damage(self.parts, _checked(name), deep=False)
        return None if problem else self.parts / name

    def part_names(self) -> list[str]:
        """Return the names of the finished parts, sorted."""
        names = (path.stem for path in self.parts.glob("*.json"))
        return sorted(name for name in names if _NAME.fullmatch(name) and self.part(name))

    def drop_part(self, name: str) -> None:
        """Remove a part, finished or not; none of that name is fine."""
        remove_tree(self.parts / f"{_checked(name)}.json")
        remove_tree(self.parts / name)

    def adopt_parts(self, earlier: Sequence[Path]) -> list[str]:
        """Take over the undamaged parts of earlier attempts, the newest of each name.

        Every file is read and compared with its SHA-256. A kill in between loses no part: it is
        gone from the earlier attempt only after it is whole in this one.

        Args:
            earlier: paths of attempts; `attempt-N` with the higher N counts as newer, and
                without numbers the given order is newest first.

        Returns:
            One sentence per part that was left behind as damaged, naming attempt, part and file.
        """
        rejected: list[str] = []
        for attempt in sorted(map(Path, earlier), key=_attempt_number, reverse=True):
            theirs = attempt / "parts"
            for marker in sorted(theirs.glob("*.json")):
                name = marker.stem
                if not _NAME.fullmatch(name) or self.part(name):
                    continue
                if problem := _damage(theirs, name, deep=True):
                    rejected.append(f"{attempt.name}: part {name} is left behind: {problem}")
                    continue
                known = read_json(marker)["files"]
                self._keep(name, partial(link_or_copy, theirs / name), known)
                remove_tree(marker)
                remove_tree(theirs / name)
        return rejected

    def _keep(
        self,
        name: str,
        write: Callable[[Path], None],
        known: list[dict[str, Any]] | None = None,
    ) -> Path:
        """Fill, sync and rename a folder, then write the file that makes it a part.

        `known` describes files that were verified a moment ago, to spare reading them again.
        """
        self.guard()
        unfinished, target = self.parts / f"{_UNFINISHED}{name}", self.parts / name
        with clear_disk_errors(target):
            try:
                remove_tree(unfinished)
                make_folder(unfinished)
                write(unfinished)
                files = _describe(unfinished) if known is None else known
                sync_tree(unfinished)
                # Writing may have taken minutes, in which another attempt may have taken over.
                self.guard()
                self.drop_part(name)
                rename(unfinished, target)
                sync_directory(self.parts)
                write_json(self.parts / f"{name}.json", {"files": files})
            except BaseException:
                remove_tree(unfinished)
                if not (self.parts / f"{name}.json").exists():
                    remove_tree(target)
                raise
        return target


def _checked(name: str) -> str:
    """Return `name` if it can name a part."""
    if not _NAME.fullmatch(name) or name.startswith(_UNFINISHED) or name.endswith(".json"):
        raise UnsafePathError(
            f"{name!r} cannot name a part: use up to 200 letters, digits, dots, hyphens and "
            f"underscores, not beginning with {_UNFINISHED!r} nor ending with '.json'"
        )
    return name


def _describe(folder: Path) -> list[dict[str, Any]]:
    """Return what a part's file records: path, size and SHA-256 of each of its files."""
    return [
        {"path": name, "size": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in walk_tree(folder)[0]
    ]


def _damage(parts: Path, name: str, *, deep: bool) -> str:
    """Say what is wrong with a part, or nothing.

    Args:
        parts: the folder the part is in.
        name: the part.
        deep: compare every file's SHA-256, not only its size.
    """
    try:
        files = read_json(parts / f"{name}.json")["files"]
        expected = {entry["path"]: (entry["size"], entry["sha256"]) for entry in files}
        present = set(walk_tree(parts / name)[0])
    except FileNotFoundError:
        return f"{name}.json is missing"
    except (StorageError, KeyError, TypeError) as error:
        return f"{name}.json or its folder cannot be read ({error})"
    if odd := present ^ set(expected):
        return f"{sorted(odd)[0]} is missing or was not part of it"
    for relative, (size, sha256) in expected.items():
        path = parts / name / relative
        if path.stat().st_size != size:
            return f"{relative} has {path.stat().st_size} bytes, expected {size}"
        if deep and sha256_file(path) != sha256:
            return f"{relative} does not have the SHA-256 it was saved with"
    return ""


def _attempt_number(attempt: Path) -> int:
    """Return N of `attempt-N`, or -1."""
    number = Path(attempt).name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
