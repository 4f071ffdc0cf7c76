"""Where a run keeps its state: the folder `.sparring`, or wherever `SPARRING_HOME` points.

It is this user's alone, or with `SPARRING_GROUP` the members' of that group of the system.
"""

from __future__ import annotations

import grp
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tasks.storage.durable import clear_disk_errors, make_folder
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import put_if_absent, read_json
from tasks.storage.plain import json_text

GROUP = "SPARRING_GROUP"
"""The environment variable that names the group whose members share a home."""
LAYOUT = 2
"""The arrangement of folders, files and keys that this version reads and writes."""


class _Below:
    """A path of this name in the state folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, home: Home, _: object = None) -> Path:
        return home.root / self._name


@dataclass(frozen=True, slots=True)
class Home:
    """The folders below one state folder."""

    root: Path
    """The state folder itself, absolute."""

    store = _Below("store")
    """Finished artifacts; a DVC repository of its own."""
    manifests = _Below("manifests")
    """What says that a stage is done, one file per key."""
    leases = _Below("leases")
    """Who works on which key."""
    work = _Below("work")
    """Unfinished work, `KEY/attempt-N`."""
    spool = _Below("spool")
    """Records on their way to a tracking server."""
    named = _Below("named")
    """Readable paths to artifacts: links into the store, which DVC can follow."""
    runs = _Below("runs")
    """One folder per flow run: its config, its events, its report."""
    ledger = _Below("ledger")
    """What was asked of paid servers, and their answers; shared by all runs."""
    people = _Below("people")
    """What people were asked and handed in, a folder for each set of questions."""
    prefect = _Below("prefect")
    """Prefect's own home."""
    servers = _Below("servers.json")
    """The file with the addresses of the servers we started."""
    _version = _Below("version.json")
    """The file that says which layout this is."""

    def ensure(self) -> Home:
        """Make the folders and the layout's version, and return this home.

        Raises:
            StorageError: when another version wrote it; nothing is touched then.
            DiskError: when the disk refuses.
        """
        self.check_layout()
        folders = (self.store, self.manifests, self.leases, self.work, self.spool, self.runs)
        with clear_disk_errors(self.root):
            make_private(self.root)
            for folder in (*folders, self.prefect):
                make_folder(folder)
        put_if_absent(self._version, json_text({"layout": LAYOUT}, indent=2) + "\n")
        return self

    def check_layout(self) -> None:
        """Raise `StorageError` if another version wrote this home; a missing one is fine."""
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(f"{self.root} is not a folder; remove it or set SPARRING_HOME")
        try:
            version = read_json(self._version)
        except FileNotFoundError:
            return
        layout = version.get("layout") if isinstance(version, dict) else None
        if not isinstance(layout, int):
            raise CorruptError(
                f'{self._version} has no layout number; it should be {{"layout": {LAYOUT}}}'
            )
        if layout > LAYOUT:
            raise StorageError(
                f"{self.root} was written by a newer version of sparring (layout {layout}, "
                f"this one knows {LAYOUT}): upgrade sparring"
            )
        if layout < LAYOUT:
            raise StorageError(
                f"{self.root} was written by an older version of sparring (layout {layout}, this "
                f"one knows {LAYOUT}), whose results cannot be used here: remove {self.root}, or "
                "keep the older release"
            )


def make_private(folder: Path) -> None:
    """Make a folder that only this user may enter, or the group; one that is there stays as it is.

    What other libraries write in this process is the group's to write, too, from now on.

    Raises:
        StorageError: There is no such group, or this user is none of it.
    """
    group = _group()
    if group is not None:
        os.umask(os.umask(0o007) & ~0o070)
    if folder.is_dir():
        return
    make_folder(folder)
    if group is not None:
        try:
            os.chown(folder, -1, group)
        except PermissionError:
            raise StorageError(
                f"{GROUP} is {os.environ[GROUP]!r}, and you are no member of that group"
            ) from None
    folder.chmod(0o700 if group is None else 0o2770)


def openness(folder: Path) -> str:
    """Return a sentence about a private folder that others may enter, or the group may not.

    Raises:
        StorageError: `SPARRING_GROUP` names no group.
    """
    group = _group()
    if not folder.exists():
        return ""
    mode = folder.stat().st_mode
    if group is None and mode & stat.S_IRWXO:
        return f"others on this machine may read {folder}: chmod o-rwx {folder}"
    if group is not None and (folder.stat().st_gid != group or mode & 0o2070 != 0o2070):
        return (
            f"{folder} is not the group's: chgrp -R {os.environ[GROUP]} {folder} && "
            f"chmod -R g+rwX,o-rwx {folder} && find {folder} -type d -exec chmod g+s {{}} +"
        )
    return ""


def _group() -> int | None:
    """Return the number of the group that shares homes, None without one."""
    name = os.environ.get(GROUP)
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StorageError(
            f"{GROUP} is {name!r}, and this machine has no group of that name"
        ) from None


def current_home() -> Home:
    """Return the home of this process: `SPARRING_HOME`, or `.sparring` in the current folder.

    Raises:
        StorageError: when another version wrote it.
    """
    home = Home(Path(os.environ.get("SPARRING_HOME") or ".sparring").absolute())
    home.check_layout()
    return home
