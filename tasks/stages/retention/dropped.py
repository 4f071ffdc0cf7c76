"""Marks of housekeeping: what was dropped on purpose, and what was used a moment ago.

A dropped artifact keeps its manifest, so that lineage still answers; without its files it is not
done, and it comes back from the remote or is made again when it is needed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.stages.manifest import Manifest, manifest_path
from tasks.storage.errors import CorruptError
from tasks.storage.files import remove_tree
from tasks.storage.home import Home
from tasks.storage.sealed import read_sealed, write_sealed


@dataclass(frozen=True, slots=True)
class DroppedMark:
    """Says that an artifact's files were dropped on purpose."""

    why: str
    """The rule of retention that let it go."""
    time: str
    """When it was dropped, ISO 8601, UTC."""
    is_remote: bool
    """Whether the files were on the remote then."""

    def __str__(self) -> str:
        where = "they are on the remote" if self.is_remote else "no copy was left"
        return f"its files were removed by gc on {self.time[:10]} ({where})"


def mark_dropped(home: Home, manifest: Manifest, why: str, *, is_remote: bool) -> None:
    """Write down that an artifact's files are about to be dropped."""
    now = datetime.now(UTC).isoformat()
    write_sealed(_path(home, manifest.key), asdict(DroppedMark(why, now, is_remote)))


def dropped_mark(home: Home, manifest: Manifest) -> DroppedMark | None:
    """Return why an artifact's files are gone, if housekeeping dropped them."""
    try:
        found = DroppedMark(**read_sealed(_path(home, manifest.key)))
    except (FileNotFoundError, CorruptError, TypeError):
        return None
    # An older one speaks of an earlier result of the same key.
    return found if found.time > str(manifest.provenance.get("created", "")) else None


def unmark_dropped(home: Home, key: str) -> None:
    """Forget that an artifact was dropped."""
    remove_tree(_path(home, key))


def mark_used(home: Home, stage: str, key: str) -> None:
    """Note that somebody is about to read an artifact; call it before looking at its files.

    Housekeeping drops nothing that was used within its grace, and looks again after it has taken
    the files aside, so that it cannot take them from under a stage that has just found them.
    """
    with suppress(OSError):  # no manifest, or a store that may only be read
        os.utime(manifest_path(home, stage, key))


def last_used(home: Home, manifest: Manifest) -> float:
    """Return when an artifact was last made or used, in seconds of the epoch."""
    try:
        return manifest_path(home, manifest.stage, manifest.key).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _path(home: Home, key: str) -> Path:
    """Return the file that marks an artifact as dropped."""
    return home.root / "dropped" / f"{key}.json"
