"""One byte of a file flipped, or its tail cut off; the kinds of files that a world has."""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tests.torture.inside import kind_of

PREFECT = "Prefect's database"
MLFLOW = "MLflow's database"
_HEX = re.compile(r"[0-9a-f]{8,}")
_OURS = "torture", "tmp", "data", "told.txt", "exported"
"""What a trial itself writes, and the user's own data, whose change is another run."""


class Damage(NamedTuple):
    """What is done to one file."""

    path: PurePosixPath
    """Seen from the world's folder."""
    kind: str
    """Kind of file."""
    how: str
    """`flip` or `cut`."""
    at: int
    """The byte, or how many are left."""
    bit: int
    """Which bit is flipped."""
    keeps_time: bool
    """Whether the file's mtime is put back."""

    def __str__(self) -> str:
        how = (
            f"bit {self.bit} of byte {self.at} flipped"
            if self.how == "flip"
            else f"cut at {self.at}"
        )
        return f"{self.kind}: {self.path}: {how}{', mtime restored' if self.keeps_time else ''}"

    def names(self) -> set[str]:
        """Return what would name the file: its own name, a key, a digest, a run."""
        text = str(self.path)
        found = {self.path.name, *(one[:8] for one in _HEX.findall(text))}
        if self.kind in (PREFECT, MLFLOW):
            found.add(self.path.stem)
        if "/runs/" in text or "/spool/" in text:
            found.add(self.path.parts[2])
        return found


def file_kind(path: PurePosixPath) -> str:
    """Return the kind of a file, by its path seen from the world's folder."""
    top, *rest = path.parts
    if path.name == "mlflow.db":
        return MLFLOW
    if path.name == "prefect.db":
        return PREFECT
    if top == "mlruns":
        return f"mlruns {path.suffix or path.name}"
    if rest[:3] == ["store", ".dvc", "cache"]:
        return f"DVC's cache {path.suffix or 'object'}"
    if rest[:2] == ["store", ".dvc"]:
        return f"DVC {kind_of(path.name)}"
    if rest[:1] == ["store"]:
        is_pointer = path.suffix == ".dvc"
        return "DVC pointer" if is_pointer else f"store {path.suffix or path.name}"
    if rest[:1] == ["runs"]:
        return f"runs {kind_of(path.name)}"
    if len(rest) > 1:
        return f"{rest[0]} {path.suffix or kind_of(path.name)}"
    return f"home {path.name}"


def files_by_kind(folder: Path) -> dict[str, list[PurePosixPath]]:
    """Return the files of a world, sorted, by their kinds; empty ones hold nothing to damage."""
    found: dict[str, list[PurePosixPath]] = defaultdict(list)
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if Path(root) != folder or one not in _OURS)
        for name in sorted(names):
            path = Path(root, name)
            relative = PurePosixPath(path.relative_to(folder))
            is_file = path.is_file() and not path.is_symlink() and path.stat().st_size
            if is_file and relative.parts[0] in (".sparring", "mlruns"):
                found[file_kind(relative)].append(relative)
    return dict(sorted(found.items()))


def draw_damage(folder: Path, draws: random.Random) -> Damage:
    """Draw a kind, a file of it, and what is done to it; its size does not count."""
    kinds = files_by_kind(folder)
    kind = draws.choice(list(kinds))
    path = draws.choice(kinds[kind])
    size = (folder / path).stat().st_size
    how = draws.choice(("flip", "flip", "cut"))
    return Damage(path, kind, how, draws.randrange(size), draws.randrange(8), draws.random() < 0.5)


def inflict(folder: Path, damage: Damage) -> None:
    """Damage a file, also one that may not be written; hard links to it are damaged with it."""
    path = folder / damage.path
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        if damage.how == "cut":
            file.truncate(damage.at)
        else:
            file.seek(damage.at)
            byte = file.read(1)[0]
            file.seek(damage.at)
            file.write(bytes([byte ^ (1 << damage.bit)]))
    path.chmod(before.st_mode & 0o777)
    if damage.keeps_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
