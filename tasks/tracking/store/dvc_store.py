"""The artifact store as a DVC repository of its own; the only file that imports dvc.

DVC's md5 of a file or folder is an artifact's identity. `dvc status`, `dvc push` and `dvc pull`
work inside the store folder by themselves.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.storage.digests import FileDigest
from tasks.storage.durable import make_folder
from tasks.storage.errors import StorageError
from tasks.storage.faults import fault_point
from tasks.storage.files import publish_directory, remove_tree, write_atomic
from tasks.storage.locks import FileLock
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store.cache_index import pointer_of
from tasks.tracking.store.object_transfer import (
    damaged_objects,
    pull_objects,
    push_objects,
    repair_objects,
)

if TYPE_CHECKING:
    from dvc.repo import Repo

_INITIALISING = ".tmp-dvc-init"
_LOCK_WAIT_SECONDS = 600.0
_REMOTE = "sparring"


class DvcStore:
    """A DVC repository without git that holds the artifacts, one `.dvc` file each.

    Args:
        root: The store folder; it becomes a DVC repository at the first use.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._repo: Repo | None = None
        self._remotes: set[str] = set()

    @property
    def _hash_table(self) -> str:
        """Where DVC remembers hashes: with the store, not in its default, a shared /var/tmp."""
        return str(self.root / ".dvc" / "tmp" / "site")

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
        repo = self._open()
        with repo.lock:
            self._repair_path_locks(repo)
            digest, size = self._take_into_cache(repo, path, digests)
        count = f"  nfiles: {len(digests)}\n" if path.is_dir() else ""
        write_atomic(
            pointer_of(path),
            f"outs:\n- md5: {digest}\n  size: {size}\n{count}  hash: md5\n  path: {path.name}\n",
        )
        return digest

    def forget(self, path: Path) -> None:
        """Drop the `.dvc` file of an artifact that is about to be made again."""
        pointer_of(path).unlink(missing_ok=True)

    def push(self, files: Sequence[FileDigest], digest: str, remote_url: str) -> int:
        """Copy to a remote what it lacks of an artifact that was added here.

        Args:
            files: The artifact's files, as given to `add`.
            digest: What `add` returned.
            remote_url: The remote, as `open_remote` takes it.

        Returns:
            How many objects were missing there.

        Raises:
            DamagedError: A file here is not what its digest says; it was not pushed.
            StorageError: A file is missing here, or the remote failed.
        """
        self._know_remote(remote_url)
        return push_objects(self._cache, files, digest, _remote(remote_url))

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
        return pull_objects(self._cache, files, folder, _remote(remote_url))

    def verify_remote(self, files: Sequence[FileDigest], remote_url: str) -> list[FileDigest]:
        """Read an artifact's objects on a remote; returns those that are damaged or gone."""
        return damaged_objects(files, _remote(remote_url))

    def repair(self, files: Sequence[FileDigest], remote_url: str) -> list[FileDigest]:
        """Replace objects that are damaged or gone on a remote by good copies from here.

        Returns:
            The files whose objects were replaced.

        Raises:
            CorruptError: Some have no good copy here; all of them are named.
        """
        return repair_objects(self._cache, files, _remote(remote_url))

    def writing(self) -> FileLock:
        """Return the lock of whoever changes the store; hold it around `add`.

        DVC's own lock gives up after three seconds; with ours each writer waits for its turn.
        """
        return FileLock(self.root / ".writer.lock", timeout=_LOCK_WAIT_SECONDS)

    def _open(self) -> Repo:
        """Return this process's repository object, making the repository at the first use."""
        if self._repo is None:
            _import_dvc()
            from dvc.config import Config
            from dvc.repo import Repo

            if not (self.root / ".dvc").is_dir():
                self._initialise()
            settings = Config(str(self.root / ".dvc"))
            if settings["core"].get("site_cache_dir") != self._hash_table:
                # The home was moved: DVC would keep its table of known hashes at the old place.
                with settings.edit() as edited:
                    edited["core"]["site_cache_dir"] = self._hash_table
            self._repo = Repo(str(self.root))
        return self._repo

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
                self._open()
        with FileLock(self.root / ".dvc" / "tmp" / "remote.lock", timeout=_LOCK_WAIT_SECONDS):
            config = self.root / ".dvc" / "config"
            text = config.read_text(encoding="utf-8")
            # DVC would write its settings in place, where another process reads them half.
            if (wanted := _with_remote(text, f"{remote_url}/store")) != text:
                write_atomic(config, wanted)
        self._remotes.add(remote_url)

    def _initialise(self) -> None:
        """Make the repository beside its place and rename it, so that it is never half there."""
        from dvc.config import Config

        building = self.root / _INITIALISING
        remove_tree(building)
        make_folder(building / "tmp")
        settings = Config.init(str(building))
        with settings.edit() as edited:
            edited["core"].update(no_scm=True, analytics=False, autostage=False, check_update=False)
            edited["core"]["site_cache_dir"] = self._hash_table
            edited["cache"]["type"] = ",".join(_link_types(building, self.root))
        publish_directory(building, self.root / ".dvc")

    def _repair_path_locks(self, repo: Repo) -> None:
        """Remove what a killed DVC left in its table of locked paths.

        DVC rewrites that table in place and believes any live process id in it; a torn or stale
        one stops every later command. Whoever holds the repository lock knows nobody else is in.
        """
        table = Path(repo.tmp_dir or "", "rwlock")
        try:
            if "pid" in (text := table.read_text(encoding="utf-8")) or not text.endswith("}"):
                table.unlink()
        except (FileNotFoundError, UnicodeDecodeError):
            table.unlink(missing_ok=True)

    def _take_into_cache(
        self, repo: Repo, path: Path, digests: Sequence[FileDigest]
    ) -> tuple[str, int]:
        """Put the files into DVC's cache, by links where the disk can, and return md5 and size.

        `dvc add` does the same, and then reads every `.dvc` file of the store to look for
        overlaps: 0.18 s with 200 artifacts. Ours cannot overlap; a folder is named by its key.
        """
        from dvc.exceptions import DvcException
        from dvc_data.fsutils import _localfs_info
        from dvc_data.hashfile.build import build
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.transfer import transfer

        cache = repo.cache.local
        known = []
        for digest in digests:
            file = str(path / digest.path if path.is_dir() else path)
            known.append((file, HashInfo("md5", digest.md5), _localfs_info(file)))
        # Told the md5s, DVC does not read the files to find them out.
        repo.state.save_many(known, cache.fs)
        try:
            staging, _, built = build(cache, str(path), cache.fs, "md5")
            failed = transfer(
                staging, cache, {built.hash_info}, shallow=False, hardlink=True
            ).failed
        except DvcException as error:
            raise StorageError(f"dvc could not version {path}: {error}") from error
        if failed or built.hash_info is None:
            raise StorageError(f"dvc could not take {path} into its cache; see its log")
        return str(built.hash_info.value), sum(digest.size for digest in digests)


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


def _import_dvc() -> None:
    """Load dvc without what its import does to a process: it wraps stdout and logs to it."""
    streams = sys.stdout, sys.stderr
    import dvc.logger  # noqa: F401

    sys.stdout, sys.stderr = streams
    logging.getLogger("dvc").setLevel(logging.WARNING)


def _with_remote(text: str, url: str) -> str:
    """Return DVC's settings with our remote as the default, and what was said of it replaced."""
    kept = re.sub(rf"(?m)^    remote = .*\n|^\['remote \"{_REMOTE}\"'\]\n(?:[ \t].*\n)*", "", text)
    kept = kept.replace("[core]\n", f"[core]\n    remote = {_REMOTE}\n", 1)
    return f"{kept}['remote \"{_REMOTE}\"']\n    url = {url}\n    verify = True\n"


def _link_types(cache: Path, store: Path) -> list[str]:
    """Return how the cache and the store share bytes, best first.

    DVC copies a file into its cache, even where it could link, unless the first type is hardlink.
    """
    from dvc.fs import localfs
    from dvc_objects.fs.generic import test_links

    if test_links(["reflink"], localfs, str(cache), localfs, str(store)):
        return ["reflink", "hardlink", "copy"]
    return ["hardlink", "reflink", "copy"]
