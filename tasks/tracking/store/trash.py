"""The store's trash: outputs that nobody needed, kept for a while in case somebody does after all.

It lies inside the store, so that an output goes there and comes back by a rename. DVC does not see
it: what it knows of an output is its `.dvc` file, which stays outside.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tasks.storage.durable import clear_disk_errors, make_folder, rename, sync_directory
from tasks.storage.files import remove_tree

_TRASH = ".trash"


def trash_place(folder: Path) -> Path:
    """Return where an output lies, by its stage and name, while it is in the trash."""
    return folder.parents[1] / _TRASH / folder.parent.name / folder.name


def throw_away(folder: Path, is_wanted: Callable[[], bool]) -> bool:
    """Put an output into the trash, unless somebody turns out to want it once it is out of sight.

    Args:
        folder: The output; nothing there is fine.
        is_wanted: Asked after its name is gone; whoever looks for it from then on misses it.

    Returns:
        Whether it is gone; a wanted one is back under its name.
    """
    if not folder.exists():
        return True
    place = trash_place(folder)
    with clear_disk_errors(place):
        remove_tree(place)
        make_folder(place.parent)
        os.utime(folder)  # its days in the trash begin now
        rename(folder, place)
        sync_directory(place.parent)
        if is_wanted():
            rename(place, folder)
            return False
    return True


def take_back(folder: Path) -> bool:
    """Bring an output back from the trash; returns whether it was there and its place was free."""
    place = trash_place(folder)
    if folder.exists() or not place.is_dir():
        return False
    with clear_disk_errors(folder):
        make_folder(folder.parent)
        rename(place, folder)
        sync_directory(folder.parent)
    return True


def thrown_away(store: Path, days: float) -> list[Path]:
    """Return the outputs that have been in the trash of a store for so many days."""
    limit = time.time() - days * 86400
    found = (Path(store) / _TRASH).glob("*/*")
    return sorted(path for path in found if path.stat().st_mtime <= limit)
