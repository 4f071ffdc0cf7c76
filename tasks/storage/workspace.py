"""The inside of one attempt at a stage: its output, and the finished parts a kill cannot take.

A part is a folder that was digested, synced and renamed into `parts/NAME`, and then named by
`parts/NAME.json`, which is written last. A shard of samples is a part; a training checkpoint is a
part named like `step-00000120`. The next attempt adopts the parts that are still undamaged, and
those that a mirror holds for the case that this machine is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tasks.storage.durable import clear_disk_errors, make_folder, rename, sync_directory
from tasks.storage.errors import CorruptError, UnsafePathError
from tasks.storage.fencing import Claim
from tasks.storage.files import link_or_copy, remove_tree
from tasks.storage.parts import FileRecord, PartMirror, describe_files, difference_of, part_damage
from tasks.storage.sealed import read_sealed, write_sealed
from tasks.storage.trees import sync_tree

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_UNFINISHED = "tmp-"


class Workspace:
    """The folder one attempt works in.

    Attributes:
        path: the attempt's folder, `work/KEY/attempt-N`.
        output: the folder whose content becomes the artifact.
        parts: the folder of finished parts.
        guard: called before anything is kept; raises when another attempt took over.
        mirror: gets a copy of every part, and gives back those that are not here.
        claim: what the guard checks as plain values, for processes that work in this folder too.
    """

    def __init__(
        self,
        path: Path,
        guard: Callable[[], None] = lambda: None,
        mirror: PartMirror | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.path = Path(path)
        self.guard = guard
        self.mirror = mirror
        self.claim = claim
        self.output = self.path / "output"
        self.parts = self.path / "parts"
        with clear_disk_errors(self.path):
            make_folder(self.parts)
            # Nothing lasts in the output before the commit, so its name need not either.
            self.output.mkdir(exist_ok=True)

    def save_part(self, name: str, write: Callable[[Path], object]) -> Path:
        """Keep what `write` puts into a folder; from then on it is there whole or not at all.

        With a mirror, its copy is whole too when this returns.

        Args:
            name: letters, digits, dots, hyphens and underscores; a part of that name is replaced.
            write: fills the empty folder it is given.

        Returns:
            The finished part's folder; treat it as read-only.

        Raises:
            DiskError: when the disk refuses; no trace of the part remains then.
        """
        files = self._keep(_checked(name), write)
        if self.mirror is not None:
            self.mirror.saved(name, self.parts / name, files)
        return self.parts / name

    def part(self, name: str) -> Path | None:
        """Return the folder of a finished part whose files are there in full size, or None."""
        problem = part_damage(self.parts, _checked(name), deep=False)
        return None if problem else self.parts / name

    def part_names(self) -> list[str]:
        """Return the names of the finished parts, sorted."""
        names = (path.stem for path in self.parts.glob("*.json"))
        return sorted(name for name in names if _NAME.fullmatch(name) and self.part(name))

    def drop_part(self, name: str) -> None:
        """Remove a part, finished or not, here and in the mirror; none of that name is fine."""
        self._remove(_checked(name))
        if self.mirror is not None:
            self.mirror.dropped(name)

    def adopt_parts(self, earlier: Sequence[Path]) -> list[str]:
        """Take over the undamaged parts of earlier attempts and of the mirror, each name once.

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
                if problem := part_damage(theirs, name, deep=True):
                    rejected.append(f"{attempt.name}: part {name} is left behind: {problem}")
                    continue
                known = read_sealed(marker)["files"]
                self._keep(name, partial(link_or_copy, theirs / name), known)
                remove_tree(marker)
                remove_tree(theirs / name)
        return rejected + self._even_out()

    def _even_out(self) -> list[str]:
        """Fetch the mirror's parts that are not here, and copy there what it lacks."""
        if self.mirror is None:
            return []
        theirs, ours = self.mirror.available(), self.part_names()
        rejected = []
        for name in sorted(set(theirs) - set(ours)):
            if not _NAME.fullmatch(name):
                continue
            known: list[FileRecord] = []
            try:
                self._keep(name, partial(_fetch_checked, self.mirror, name, known), known)
            except CorruptError as error:
                rejected.append(f"remote: part {name} is left behind: {error}")
                self.mirror.dropped(name)
        for name in sorted(set(ours) - set(theirs)):
            files = read_sealed(self.parts / f"{name}.json")["files"]
            self.mirror.saved(name, self.parts / name, files)
        return rejected

    def _remove(self, name: str) -> None:
        """Remove a part here, its file first."""
        remove_tree(self.parts / f"{name}.json")
        remove_tree(self.parts / name)

    def _keep(
        self, name: str, write: Callable[[Path], object], known: list[FileRecord] | None = None
    ) -> list[FileRecord]:
        """Fill, sync and rename a folder, then write its files' records: `known` ones, or new."""
        self.guard()
        unfinished, target = self.parts / f"{_UNFINISHED}{name}", self.parts / name
        with clear_disk_errors(target):
            try:
                remove_tree(unfinished)
                make_folder(unfinished)
                write(unfinished)
                files = describe_files(unfinished) if known is None else known
                sync_tree(unfinished)
                # Writing may have taken minutes, in which another attempt may have taken over.
                self.guard()
                self._remove(name)
                rename(unfinished, target)
                sync_directory(self.parts)
                write_sealed(self.parts / f"{name}.json", {"files": files})
            except BaseException:
                remove_tree(unfinished)
                if not (self.parts / f"{name}.json").exists():
                    remove_tree(target)
                raise
        return files


def _checked(name: str) -> str:
    """Return `name` if it can name a part."""
    if not _NAME.fullmatch(name) or name.startswith(_UNFINISHED) or name.endswith(".json"):
        raise UnsafePathError(
            f"{name!r} cannot name a part: use up to 200 letters, digits, dots, hyphens and "
            f"underscores, not beginning with {_UNFINISHED!r} nor ending with '.json'"
        )
    return name


def _fetch_checked(mirror: PartMirror, name: str, known: list[FileRecord], folder: Path) -> None:
    """Fill a folder from the mirror, compare every file's SHA-256, and note the files' records."""
    known += mirror.fetch(name, folder)
    if problem := difference_of(folder, known, deep=True):
        raise CorruptError(problem)


def _attempt_number(attempt: Path) -> int:
    """Return N of `attempt-N`, or -1."""
    number = Path(attempt).name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
