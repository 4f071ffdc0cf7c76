"""The artifact store as a DVC repository of its own.

DVC's md5 of a file or folder is an artifact's identity. `dvc status`, `dvc push` and `dvc pull`
work inside the store folder by themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tasks.storage.digests import FileDigest
from tasks.storage.errors import StorageError
from tasks.storage.faults import fault_point
from tasks.storage.files import write_atomic
from tasks.storage.locks import FileLock
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store import object_transfer
from tasks.tracking.store.cache_index import pointer_of, pointer_text
from tasks.tracking.store.dvc_repository import DvcRepository

_LOCK_WAIT_SECONDS = 600.0
_REMOTE = "sparring"


class DvcStore:
    """A DVC repository without git that holds the artifacts, one `.dvc` file each.

    Args:
        root: The store folder; it becomes a DVC repository at the first use.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._repository = DvcRepository(self.root)
        self._remotes: set[str] = set()

    def add(self, path: Path, digests: Sequence[FileDigest]) -> str:
        """Version a finished file or folder of the store; its bytes are not read again.

        Call it while holding `writing()`.

        Args:
            path: What to version, below the store's root.
            digests: The digest of every file in it, with paths relative to it; a file's own name
                for a file.

        Returns:
            DVC's md5 of it: 32 hex digits, with ".dir" behind them for a folder.

        Raises:
            StorageError: `path` lies outside the store, or DVC refuses.
        """
        path = Path(os.path.realpath(path))
        if not path.is_relative_to(self.root):
            raise StorageError(f"{path} is not in the store {self.root}")
        # A pointer to what was there before must not outlive it.
        self.forget(path)
        fault_point(f"dvc add {path.name}")
        digest = self._repository.add(path, digests)
        write_atomic(pointer_of(path), pointer_text(path, digest, digests))
        return digest

    def mend_pointer(self, path: Path, digest: str, digests: Sequence[FileDigest]) -> bool:
        """Write the `.dvc` file of an artifact anew unless it is as it must be; tell whether."""
        pointer, text = pointer_of(path), pointer_text(path, digest, digests)
        try:
            is_right = pointer.read_bytes() == text.encode()
        except FileNotFoundError:
            # What was pulled from a remote has none, nor has DVC the list of its files.
            is_right = not (self._cache / "files" / "md5" / digest[:2] / digest[2:]).exists()
        if not is_right:
            write_atomic(pointer, text)
        return not is_right

    def forget(self, path: Path) -> None:
        """Drop the `.dvc` file of an artifact that is about to be made again."""
        pointer_of(path).unlink(missing_ok=True)

    def push(self, files: Sequence[FileDigest], digest: str, remote_url: str) -> int:
        """Copy to a remote what it lacks of an artifact that was added here.

        Returns:
            How many objects were missing there.

        Raises:
            DamagedError: A file here is not what its digest says; it was not pushed.
            StorageError: A file is missing here, or the remote failed.
        """
        self._know_remote(remote_url)
        return object_transfer.push_objects(self._cache, files, digest, _remote(remote_url))

    def pull(self, files: Sequence[FileDigest], folder: Path, remote_url: str) -> int:
        """Bring files of an artifact from a remote, each at once and checked.

        What is in `folder` with its size stays; what DVC's cache has is linked.

        Args:
            files: Paths relative to `folder`.
            folder: The folder they belong into, below the store's root.
            remote_url: The remote, as `open_remote` takes it.

        Returns:
            How many objects came from the remote.

        Raises:
            CorruptError: Objects are damaged or gone there; all are named.
            RemoteError: The remote cannot be read now.
        """
        self._know_remote(remote_url)
        return object_transfer.pull_objects(self._cache, files, folder, _remote(remote_url))

    def restore(self, files: Sequence[FileDigest], folder: Path) -> list[FileDigest]:
        """Replace files of an artifact by good copies from DVC's cache; returns those it had."""
        return object_transfer.restore_objects(self._cache, files, folder)

    def verify_remote(self, files: Sequence[FileDigest], remote_url: str) -> list[FileDigest]:
        """Read an artifact's objects on a remote; returns those that are damaged or gone."""
        return object_transfer.damaged_objects(files, _remote(remote_url))

    def repair(self, files: Sequence[FileDigest], remote_url: str) -> list[FileDigest]:
        """Replace objects damaged or gone on a remote by good copies from here, and return which.

        Raises:
            CorruptError: Some have no good copy here; all of them are named.
        """
        return object_transfer.repair_objects(self._cache, files, _remote(remote_url))

    def writing(self) -> FileLock:
        """Return the lock of whoever changes the store; hold it around `add`.

        DVC's own lock gives up after three seconds; with ours each writer waits for its turn.
        """
        return FileLock(self.root / ".writer.lock", timeout=_LOCK_WAIT_SECONDS)

    @property
    def _cache(self) -> Path:
        """DVC's cache of this store."""
        return self.root / ".dvc" / "cache"

    def _know_remote(self, remote_url: str) -> None:
        """Tell DVC of the remote, so that `dvc pull` and `dvc push` in the store find it."""
        if remote_url in self._remotes:
            return
        if not (self.root / ".dvc").is_dir():
            with self.writing():
                self._repository.open()
        with FileLock(self.root / ".dvc" / "tmp" / "remote.lock", timeout=_LOCK_WAIT_SECONDS):
            config = self.root / ".dvc" / "config"
            text = config.read_text(encoding="utf-8")
            # DVC would write its settings in place, where another process reads them half.
            if (wanted := _with_remote(text, f"{remote_url}/store")) != text:
                write_atomic(config, wanted)
        self._remotes.add(remote_url)


@lru_cache(maxsize=8)
def dvc_store(root: Path) -> DvcStore:
    """Return this process's `DvcStore` for a folder: opening the repository costs once."""
    return DvcStore(root)


def _remote(url: str) -> Remote:
    """Return the remote of a URL that is not empty."""
    remote = open_remote(url)
    if remote is None:
        raise ValueError("the remote's URL is empty")
    return remote


def _with_remote(text: str, url: str) -> str:
    """Return DVC's settings with our remote as the default, and what was said of it replaced."""
    kept = re.sub(rf"(?m)^    remote = .*\n|^\['remote \"{_REMOTE}\"'\]\n(?:[ \t].*\n)*", "", text)
    kept = kept.replace("[core]\n", f"[core]\n    remote = {_REMOTE}\n", 1)
    return f"{kept}['remote \"{_REMOTE}\"']\n    url = {url}\n    verify = True\n"
