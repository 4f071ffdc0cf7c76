"""Artifacts' bytes between a store's DVC cache and the remote, under the names DVC gives them.

DVC's own commands find the same objects at `REMOTE/store`. They are moved here, not by DVC, since
every one is checked: on its way out by MD5, on its way in by MD5 and SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tasks.storage.digests import FileDigest, digest_file, directory_listing, directory_md5
from tasks.storage.durable import (
    clear_disk_errors,
    make_folder,
    rename,
    sync_directory,
    temporary_name,
)
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import link_or_copy, safe_join
from tasks.tracking.remote.base import DamagedError, Remote, RemoteError

_T = TypeVar("_T")
_U = TypeVar("_U")
_AT_ONCE = 8
_MOST_NAMED = 50


def object_name(md5: str) -> str:
    """Return the name on the remote of a file with this MD5, or of a folder (ending in `.dir`)."""
    return f"store/files/md5/{md5[:2]}/{md5[2:]}"


def push_objects(cache: Path, files: Sequence[FileDigest], digest: str, remote: Remote) -> int:
    """Copy to the remote what it lacks of an artifact, a folder's list of files last.

    What is there with the right size is not looked into, nor is the local copy of it.

    Returns:
        How many objects were missing.

    Raises:
        DamagedError: A local copy is not what its name says; it was not pushed.
        StorageError: A local copy is missing, or the files do not add up to `digest`.
    """
    unique = {file.md5: file for file in files}.values()
    missing = [file for file, is_there in _each(lambda f: _is_there(remote, f), unique)
               if not is_there]  # fmt: skip
    _each(lambda file: _push(cache, file, remote), missing)
    if not digest.endswith(".dir"):
        return len(missing)
    listing, name = _folder_listing(files, digest), object_name(digest)
    if remote.size(name) == len(listing):
        return len(missing)
    remote.put(name, listing)
    return len(missing) + 1


def pull_objects(cache: Path, files: Sequence[FileDigest], folder: Path, remote: Remote) -> int:
    """Bring files of an artifact here; those that are there with their size stay untouched.

    Returns:
        How many objects came from the remote.

    Raises:
        CorruptError: Objects are damaged or gone on the remote: all of them are named. What was
            whole is there nevertheless.
        RemoteError: The remote cannot be read now.
    """
    wanted = [file for file in files if _local_size(safe_join(folder, file.path)) != file.size]
    # Two files of one artifact may have the same bytes.
    unique = {file.md5: file for file in wanted}.values()
    fates = dict(
        (file.md5, fate) for file, fate in _each(lambda f: _fetch(cache, f, remote), unique)
    )
    bad = [f"{file.path} ({object_name(file.md5)}: {fates[file.md5]})"
           for file in wanted if fates[file.md5] not in ("here", "came")]  # fmt: skip
    for file in wanted:
        if fates[file.md5] in ("here", "came"):
            _link(_cached(cache, file.md5), safe_join(folder, file.path))
    if bad:
        raise CorruptError(_sentence(bad, len(wanted), remote))
    return list(fates.values()).count("came")


def restore_objects(cache: Path, files: Sequence[FileDigest], folder: Path) -> list[FileDigest]:
    """Replace files of an artifact by good copies of a cache; returns those that it had.

    Where cache and store share the bytes of a file it has none: they were damaged together.
    """
    found = [file for file in files if _is_good(_cached(cache, file.md5), file)]
    for file in found:
        make_folder(safe_join(folder, file.path).parent)
        _link(_cached(cache, file.md5), safe_join(folder, file.path))
    return found


def damaged_objects(files: Iterable[FileDigest], remote: Remote) -> list[FileDigest]:
    """Read objects of the remote through, and return the files whose object is damaged or gone."""
    unique = {file.md5: file for file in files}.values()
    contents = _each(lambda file: remote.content(object_name(file.md5)), unique)
    return [file for file, found in contents
            if found is None or (found.md5, found.sha256) != (file.md5, file.sha256)]  # fmt: skip


def repair_objects(cache: Path, files: Iterable[FileDigest], remote: Remote) -> list[FileDigest]:
    """Replace objects damaged or gone on the remote by good copies in a cache; return which.

    Raises:
        CorruptError: Some have no good copy here; all of them are named, the others replaced.
    """
    damaged, lost = damaged_objects(files, remote), []
    for file in damaged:
        try:
            _push(cache, file, remote)
        except (DamagedError, FileNotFoundError, StorageError) as error:
            if isinstance(error, RemoteError) and not isinstance(error, DamagedError):
                raise
            lost.append(f"{file.path} ({object_name(file.md5)}: no good copy here)")
    if lost:
        raise CorruptError(_sentence(lost, len(damaged), remote))
    return damaged


def _sentence(bad: list[str], count: int, remote: Remote) -> str:
    """Name what is damaged."""
    more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    return (
        f"{len(bad)} of {count} objects on {remote.url} are damaged or gone:"
        f" {', '.join(bad[:_MOST_NAMED])}{more}; push them again from a machine that has good"
        " copies, or let the stage run again"
    )


def _each(action: Callable[[_T], _U], items: Iterable[_T]) -> list[tuple[_T, _U]]:
    """Do something to each item, several at once, and return the items with their results."""
    items = list(items)
    if len(items) < 2:
        return [(item, action(item)) for item in items]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(zip(items, pool.map(action, items), strict=True))


def _is_there(remote: Remote, file: FileDigest) -> bool:
    """Whether the remote has an object of this file's name and size."""
    return remote.size(object_name(file.md5)) == file.size


def _push(cache: Path, file: FileDigest, remote: Remote) -> None:
    """Copy one file's bytes to the remote, checked by the way."""
    source = _cached(cache, file.md5)
    if _local_size(source) is None:
        raise StorageError(f"the store has no copy of {file.path} ({source}); it cannot be pushed")
    remote.upload(object_name(file.md5), source, md5=file.md5)


def _fetch(cache: Path, file: FileDigest, remote: Remote) -> str:
    """Get a file's bytes into the cache: "here" already, or they "came"; else what is wrong."""
    target, name = _cached(cache, file.md5), object_name(file.md5)
    if _local_size(target) is not None:
        if _is_good(target, file):
            return "here"
        target.unlink(missing_ok=True)
    coming = temporary_name(target.parent)
    try:
        remote.download(name, coming)
        if not _is_good(coming, file):
            return "damaged"
        with clear_disk_errors(target):
            # DVC's cache is read-only: its files are other names of the artifacts' files.
            os.chmod(coming, 0o444)
            rename(coming, target)
            sync_directory(target.parent)
    except DamagedError:
        return "damaged"
    except RemoteError:
        if remote.size(name) is None:
            return "gone"
        raise
    finally:
        coming.unlink(missing_ok=True)
    return "came"


def _is_good(path: Path, file: FileDigest) -> bool:
    """Whether a file holds what it should, by size and both digests."""
    if _local_size(path) != file.size:
        return False
    found = digest_file(path)
    return (found.md5, found.sha256) == (file.md5, file.sha256)


def _link(source: Path, target: Path) -> None:
    """Give a cached file its place in an artifact, replacing what is there in one step."""
    coming = temporary_name(target.parent)
    try:
        link_or_copy(source, coming)
        with clear_disk_errors(target):
            rename(coming, target)
            sync_directory(target.parent)
    finally:
        coming.unlink(missing_ok=True)


def _cached(cache: Path, md5: str) -> Path:
    """Return the place of an object in a DVC cache."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _local_size(path: Path) -> int | None:
    """Return a file's bytes, or None when there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _folder_listing(files: Sequence[FileDigest], digest: str) -> bytes:
    """Return what DVC keeps as a folder's object: the MD5s and paths of its files."""
    if directory_md5(files) != digest:
        raise StorageError(f"the files given are not those of {digest}, but {directory_md5(files)}")
    return directory_listing(files)
