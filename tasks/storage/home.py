"""Where a run keeps its state: the folder `.sparring`, or wherever `SPARRING_HOME` points."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tasks.storage.durable import clear_disk_errors, make_folder
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import put_if_absent, read_json
from tasks.storage.plain import json_text

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


def current_home() -> Home:
    """Return the home of this process: `SPARRING_HOME`, or `.sparring` in the current folder.

    Raises:
        StorageError: when another version wrote it.
    """
    home = Home(Path(os.environ.get("SPARRING_HOME") or ".sparring").absolute())
    home.check_layout()
    return home
