"""The few system calls that make a change last: fsync, rename, mkdir; each is a fault point.

A new file or folder is as open as the folder that it lies in: what a private folder holds stays
private by itself, wherever it is copied to, and what a group shares is the group's.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.storage.errors import DiskError
from tasks.storage.faults import fault_point

TEMPORARY_PREFIX = ".tmp-"
"""Begins the name of a file or folder that is not whole yet."""

TRASH_PREFIX = ".trash-"
"""Begins the name of a file or folder that is being removed."""

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EACCES: "permission denied: choose a folder you may write in (SPARRING_HOME moves ours)",
    errno.EROFS: "the disk is read-only: mount it writable or move SPARRING_HOME",
    errno.EIO: "the disk reports an input/output error: check the disk, then run again",
}


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals of `path` inside the block into a `DiskError` that says what to do.

    Raises:
        DiskError: for a full, over-quota, read-only or failing disk; other errors pass through.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        message = f"cannot write {path}: {reason} (what was there before is unchanged)"
        raise DiskError(error.errno, message, str(path)) from error


def temporary_name(folder: Path, prefix: str = TEMPORARY_PREFIX) -> Path:
    """Return a name in `folder` that nobody else uses; it is marked as not whole yet, or trash."""
    return folder / f"{prefix}{os.getpid()}-{secrets.token_hex(6)}"


def sync_file(path: Path, descriptor: int | None = None) -> None:
    """Make the bytes of a file survive a power cut; it is opened unless a descriptor is given."""
    fault_point(f"fsync {path.name}")
    if descriptor is not None:
        os.fsync(descriptor)
    else:
        _sync(path, os.O_RDONLY)


def sync_directory(folder: Path) -> None:
    """Make the names in a folder survive a power cut: without it a rename may be forgotten."""
    fault_point(f"fsync directory {folder.name}")
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give `source` the name `target` in one step, replacing a file of that name."""
    fault_point(f"rename to {target.name}")
    os.replace(source, target)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a power cut; it may exist already."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    fault_point(f"mkdir {folder.name}")
    folder.mkdir(exist_ok=True)
    open_as_folder(folder, folder.parent)
    sync_directory(folder.parent)


def open_as_folder(new: Path | int, folder: Path) -> None:
    """Let a new file, by path or descriptor, or folder be open to nobody to whom its folder is not.

    In a folder that a group shares (setgid) the group may write it. The umask decides the rest.
    """
    around, now = folder.stat().st_mode, stat.S_IMODE(os.stat(new).st_mode)
    mode = now & (around | ~0o077)
    if around & stat.S_ISGID:
        mode |= around & (0o070 if stat.S_ISDIR(os.stat(new).st_mode) else 0o060)
    if mode != now:
        with suppress(PermissionError):  # somebody else's, or a disk without modes
            os.chmod(new, mode)
