"""Drops what nobody needs any more from a home: files only, never a manifest.

What may go is decided first and shown; each thing is looked at once more, under the locks of those
who write, before it goes. A kill at any instant leaves a store that is consistent, and the next
time goes on from there.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tasks.stages.retention.roots import Policy
from tasks.storage.home import Home
from tasks.storage.locks import FileLock

Kind = Literal[
    "artifact", "weights", "orphan", "trash", "objects", "work", "spool", "call", "leftover"
]
"""artifact, weights: the output of a stage; orphan: an output without manifest; trash: an output
that was dropped a while ago; objects: of DVC's cache, or of the remote; work: unfinished work;
spool: records that MLflow has; call: a call as another process was told of it; leftover: what a
killed process left."""

WORKED_ON = "it is worked on now"
JUST_USED = "it was made or used a moment ago"
"""Why something stays for now."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is removed, or would be."""

    kind: Kind
    """Kind of thing, one of `Kind`."""
    name: str
    """The stage and the beginning of the key, or a path in the home or on the remote."""
    why: str
    """The rule that lets it go."""
    size: int
    """Bytes that it frees; those shared with something that stays are not counted."""
    is_last_copy: bool = False
    """Whether no copy of a result is left anywhere."""
    to_trash: bool = False
    """Whether it goes to the trash: its bytes are freed later, and it comes back if needed."""


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that could be removed, and stays for now."""

    name: str
    """Name of the thing, as in `Item`."""
    why: str
    """The reason why it stays for now."""


@dataclass(slots=True)
class Sweep:
    """The outcome of one cleaning: what is removed, and what is held back."""

    items: list[Item] = field(default_factory=list)
    """Things that go, or went."""
    held: list[Held] = field(default_factory=list)
    """Things that stay for now."""

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(item.size for item in self.items if not item.to_trash)

    @property
    def trash_size(self) -> int:
        """Bytes that go to the trash."""
        return sum(item.size for item in self.items if item.to_trash)

    @property
    def last_copies(self) -> list[Item]:
        """Results of which no copy is left."""
        return [item for item in self.items if item.is_last_copy]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that may be removed, and how."""

    kind: Kind
    """Kind of thing, one of `Kind`."""
    name: str
    """Name of the thing, as in `Item`."""
    why: str
    """The rule that lets it go."""
    paths: Sequence[Path]
    """Files and folders that go with it."""
    remove: Callable[[], str | None]
    """Looks again and removes it; returns what speaks against it, or nothing."""
    is_last_copy: bool = False
    """Whether no copy of a result is left anywhere."""
    to_trash: bool = False
    """Whether it goes to the trash for a while."""


def sweep_lock(home: Home) -> FileLock:
    """Return the lock that cleaning holds; a second cleaning at the same time fails at once."""
    return FileLock(home.root / "gc.lock", timeout=0)


def carry_out(candidates: Sequence[Candidate], *, dry_run: bool) -> Sweep:
    """Remove the candidates in the given order, or only say what that would free."""
    sweep = Sweep()
    for candidate, size in zip(candidates, _freed(candidates), strict=True):
        if not dry_run and (problem := candidate.remove()):
            sweep.held.append(Held(candidate.name, problem))
            continue
        one = candidate
        sweep.items.append(
            Item(one.kind, one.name, one.why, size, one.is_last_copy, to_trash=one.to_trash)
        )
    return sweep


def is_fresh(instant: float, policy: Policy) -> bool:
    """Tell whether something was used so recently that somebody may still use it."""
    return instant > time.time() - policy.grace_seconds


def _freed(candidates: Sequence[Candidate]) -> list[int]:
    """Return the bytes each candidate frees: a file with several names only when all of them go."""
    names: Counter[tuple[int, int]] = Counter()
    seen: dict[tuple[int, int], tuple[int, int, int]] = {}
    for index, candidate in enumerate(candidates):
        for status in (one for path in candidate.paths for one in _statuses(path)):
            file = (status.st_dev, status.st_ino)
            names[file] += 1
            seen.setdefault(file, (index, status.st_nlink, status.st_size))
    sizes = [0] * len(candidates)
    for file, (index, links, size) in seen.items():
        if names[file] >= links:
            sizes[index] += size
    return sizes


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of every file in a folder; what is gone is left out."""
    try:
        if path.is_dir() and not path.is_symlink():
            for entry in os.scandir(path):
                yield from _statuses(Path(entry.path))
        else:
            yield path.lstat()
    except FileNotFoundError:
        return
