"""Folders as a whole: what they hold, getting all of it onto the disk, and clearing them away."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from tasks.storage import durable
from tasks.storage.errors import StorageError
from tasks.storage.faults import fault_point


def is_clean_name(name: str) -> bool:
    """Tell whether a file name is UTF-8 and free of control characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not any(ord(letter) < 32 or ord(letter) == 127 for letter in name)


def walk_tree(folder: Path) -> tuple[list[str], list[str]]:
    """List what a folder holds.

    Returns:
        Files and sub-folders, each as relative posix paths sorted as strings.

    Raises:
        StorageError: when the folder is missing, or holds a link, a device or a name that is
            not clean UTF-8.
    """
    files: list[str] = []
    folders: list[str] = []
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = list(os.scandir(Path(folder, inside)))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StorageError(f"{Path(folder, inside)} is not a folder") from error
        for entry in entries:
            relative = f"{inside}/{entry.name}" if inside else entry.name
            kind = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                folders.append(relative)
                pending.append(relative)
            elif stat.S_ISREG(kind) and is_clean_name(entry.name):
                files.append(relative)
            else:
                raise StorageError(
                    f"{str(Path(folder, relative))!r} is a link, a device or has a name that is "
                    "not clean UTF-8; an artifact holds plain files and folders only"
                )
    return sorted(files), sorted(folders)


def sync_tree(folder: Path) -> None:
    """Make every file and name in a folder survive a power cut; raises as `walk_tree`."""
    files, folders = walk_tree(folder)
    for relative in files:
        durable.sync_file(Path(folder, relative))
    for relative in reversed(folders):
        durable.sync_directory(Path(folder, relative))
    durable.sync_directory(Path(folder))


def sweep_leftovers(folder: Path, *, older_than: float = 3600.0) -> int:
    """Remove, and count, temporary and trash names directly in `folder` that a killed process left.

    Args:
        folder: where to look; a missing one is fine.
        older_than: seconds since the last change; younger ones may still be in use.
    """
    count = 0
    limit = time.time() - older_than
    for entry in list(Path(folder).glob(".t*")):
        if not entry.name.startswith((durable.TEMPORARY_PREFIX, durable.TRASH_PREFIX)):
            continue
        try:
            old = entry.lstat().st_mtime <= limit
        except FileNotFoundError:
            continue
        if old:
            delete_now(entry)
            count += 1
    return count


def remove_unless(path: Path, is_wanted: Callable[[], bool]) -> bool:
    """Remove a file or folder, unless somebody turns out to want it once it is out of sight.

    Args:
        path: what to remove; nothing there is fine.
        is_wanted: asked after its name is gone; whoever looks for it from then on misses it.

    Returns:
        Whether it is gone; a wanted one is back under its name.
    """
    if not os.path.lexists(path):
        return True
    aside = durable.temporary_name(path.parent, durable.TRASH_PREFIX)
    durable.rename(path, aside)
    if is_wanted():
        durable.rename(aside, path)
        return False
    fault_point(f"remove {path.name}")
    delete_now(aside)
    return True


def delete_now(path: Path) -> None:
    """Delete a file, link or folder that nobody needs any more."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
