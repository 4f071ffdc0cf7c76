"""A DVC repository made and used as the store needs it; the only file that imports dvc."""

from __future__ import annotations

import atexit
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.storage.digests import FileDigest
from tasks.storage.durable import make_folder
from tasks.storage.errors import StorageError
from tasks.storage.files import publish_directory, remove_tree, write_atomic

if TYPE_CHECKING:
    from dvc.repo import Repo

_INITIALISING = ".tmp-dvc-init"


class DvcRepository:
    """A DVC repository without git in a folder.

    Args:
        root: The folder, without links in its path; it becomes a repository at the first use.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._repo: Repo | None = None

    def open(self) -> Repo:
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
                self._name_hash_table(self.root / ".dvc")
            self._repo = Repo(str(self.root))
        return self._repo

    def add(self, path: Path, digests: Sequence[FileDigest]) -> str:
        """Take an artifact below the root into DVC's cache, and return DVC's MD5 of it.

        Raises:
            StorageError: DVC refuses.
        """
        repo = self.open()
        with repo.lock:
            self._repair_path_locks(repo)
            return self._take_into_cache(repo, path, digests)

    @property
    def _hash_table(self) -> str:
        """Where DVC remembers hashes: with the store, not in its default, a shared /var/tmp."""
        return str(self.root / ".dvc" / "tmp" / "site")

    def _initialise(self) -> None:
        """Make the repository beside its place and rename it, so that it is never half there."""
        from dvc.config import Config

        building = self.root / _INITIALISING
        remove_tree(building)
        make_folder(building / "tmp")
        settings = Config.init(str(building))
        with settings.edit() as edited:
            edited["core"].update(no_scm=True, analytics=False, autostage=False, check_update=False)
            edited["cache"]["type"] = ",".join(_link_types(building, self.root))
        self._name_hash_table(building)
        publish_directory(building, self.root / ".dvc")

    def _name_hash_table(self, folder: Path) -> None:
        """Write into DVC's settings where its table is; DVC itself writes them in ASCII only."""
        config = folder / "config"
        text = re.sub(r"(?m)^ *site_cache_dir = .*\n", "", config.read_text("utf-8"))
        quote = "'" if '"' in self._hash_table else '"'
        line = f"    site_cache_dir = {quote}{self._hash_table}{quote}\n"
        write_atomic(config, text.replace("[core]\n", f"[core]\n{line}", 1))

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

    def _take_into_cache(self, repo: Repo, path: Path, digests: Sequence[FileDigest]) -> str:
        """Put the files into DVC's cache, by links where the disk can, and return the MD5.

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
        return str(built.hash_info.value)


def _import_dvc() -> None:
    """Load dvc without what its import does to a process: it wraps stdout and logs to it."""
    streams = sys.stdout, sys.stderr
    import dvc.logger  # noqa: F401

    sys.stdout, sys.stderr = streams
    # At the exit it would print a colour code to what was the standard output meanwhile.
    atexit.unregister(sys.modules["colorama"].initialise.reset_all)
    logging.getLogger("dvc").setLevel(logging.WARNING)
    # Its progress bars go by the levels of these loggers, and would tear ours apart.
    for name in ("dvc.progress", "dvc_data.callbacks"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _link_types(cache: Path, store: Path) -> list[str]:
    """Return how the cache and the store share bytes, best first.

    DVC copies a file into its cache, even where it could link, unless the first type is hardlink.
    """
    from dvc.fs import localfs
    from dvc_objects.fs.generic import test_links

    if test_links(["reflink"], localfs, str(cache), localfs, str(store)):
        return ["reflink", "hardlink", "copy"]
    return ["hardlink", "reflink", "copy"]
