"""A remote that is a folder: a disk that several machines mount, or just another disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.settings.errors import ConfigError
from tasks.storage.digests import FileDigest, digest_file
from tasks.storage.durable import TEMPORARY_PREFIX, TRASH_PREFIX
from tasks.storage.errors import DiskError
from tasks.storage.files import open_output, put_if_absent, safe_join, write_atomic
from tasks.storage.trees import sweep_leftovers
from tasks.tracking.remote.base import Finding, RemoteError, damaged_file, no_conditional_writes

_CHUNK = 1 << 20
_CLOCK = ".clock"
_USERS_TURN = {errno.EACCES, errno.EPERM, errno.EROFS}


class FolderRemote:
    """Objects as files below one folder.

    Args:
        root: Absolute; made at the first write if its parent is there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def put(self, name: str, data: bytes) -> None:
        """Write an object in one rename."""
        with self._writing(name):
            write_atomic(self._path(name), data)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create an object by a hard link, which fails when the name is taken."""
        with self._writing(name):
            return put_if_absent(self._path(name), data)

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None."""
        with self._reading(name):
            try:
                return self._path(name).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._check_folder()
                return None

    def names(self, prefix: str) -> list[str]:
        """Return the full names that begin with `prefix`, sorted."""
        self._check_folder()
        inside = prefix.rpartition("/")[0]
        start = self._path(inside) if inside else self.root
        found = []
        for folder, folders, files in os.walk(start):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            relative = os.path.relpath(folder, self.root)
            above = "" if relative == "." else f"{relative}/"
            found += [above + name for name in files if not _is_hidden(name)]
        return sorted(name for name in found if name.startswith(prefix))

    def age(self, name: str) -> float | None:
        """Return the seconds since an object was written, by the file system's own clock.

        The clock of a shared disk is its server's; a file touched now tells what it says.
        """
        try:
            written = self._path(name).stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        with self._writing(_CLOCK):
            clock = self.root / _CLOCK
            put_if_absent(clock, b"")
            # Without times given, a network disk's server puts its own now.
            os.utime(clock)
            return max(0.0, clock.stat().st_mtime - written)

    def delete(self, name: str) -> None:
        """Remove an object; an absent one is fine."""
        with self._writing(name):
            try:
                self._path(name).unlink(missing_ok=True)
            except NotADirectoryError:
                return

    def upload(self, name: str, path: Path, *, md5: str | None = None) -> None:
        """Copy a file there under a temporary name, check it, then rename it."""
        target = self._path(name)
        read = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as data, self._writing(name), open_output(target, "wb") as out:
            while chunk := data.read(_CHUNK):
                out.write(chunk)
                if md5 is not None:
                    read.update(chunk)
            if md5 is not None and read.hexdigest() != md5:
                raise damaged_file(path, md5, read.hexdigest())

    def download(self, name: str, path: Path) -> None:
        """Copy an object into a file that appears when it is whole."""
        with self._reading(name):
            try:
                data = open(self._path(name), "rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                self._check_folder()
                raise RemoteError(f"the remote {self.url} holds no {name}") from error
        with data, open_output(path, "wb") as out:
            shutil.copyfileobj(data, out, _CHUNK)

    def content(self, name: str) -> FileDigest | None:
        """Read an object through for its size and digests."""
        with self._reading(name):
            try:
                return digest_file(self._path(name), relative=name)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def size(self, name: str) -> int | None:
        """Return an object's bytes, or None when there is none."""
        with self._reading(name):
            try:
                return self._path(name).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object below a prefix."""
        found = {name: self.size(name) for name in self.names(prefix)}
        return {name: size for name, size in found.items() if size is not None}

    def sweep(self, older_than: float = 3600.0) -> int:
        """Remove temporary names that writers which died left anywhere below the folder."""
        self._check_folder()
        with self._writing("leftovers"):
            folders = [Path(folder) for folder, _, _ in os.walk(self.root)]
            return sum(sweep_leftovers(folder, older_than=older_than) for folder in folders)

    def findings(self) -> list[Finding]:
        """Look at the folder for `sparring doctor`."""
        try:
            self._check_folder()
        except ConfigError as error:
            return [Finding("reachable", "bad", str(error))]
        found = [Finding("reachable", "ok", self.url)]
        try:
            probe = f"probe-{os.getpid()}"
            try:
                written = [self.put_if_absent(probe, b"") for _ in range(2)]
            finally:
                self.delete(probe)
            if written != [True, False]:
                raise no_conditional_writes(self.url)
            done = "a probe was written once, not twice, and removed"
            found.append(Finding("writable", "ok", done))
        except (ConfigError, RemoteError) as error:
            found.append(Finding("writable", "bad", str(error)))
        for subject in ("encrypted", "versioned"):
            found.append(Finding(subject, "unknown", "a folder does not say"))
        if self.root.exists() and self.root.stat().st_mode & stat.S_IWOTH:
            public = Finding("not public", "bad", f"everybody may write: chmod o-w {self.url}")
        else:
            public = Finding("not public", "ok", "not writable for everybody")
        return [*found, public]

    def _path(self, name: str) -> Path:
        """Return the file of an object; raises `UnsafePathError` for a name that leads out."""
        return safe_join(self.root, name)

    def _check_folder(self) -> None:
        """Tell a remote that is still empty from a disk that is not mounted."""
        # One look decides: another process may make the folder between two.
        try:
            usable = stat.S_ISDIR(self.root.stat().st_mode)
        except OSError:
            usable = self.root.parent.is_dir()
        if not usable:
            raise ConfigError(
                f"the remote {self.url} is no folder, or its disk is not mounted: mount it, or make"
                f" the folder {self.root.parent}"
            )

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn the disk's refusals to read into sentences about the remote."""
        try:
            yield
        except OSError as error:
            raise self._error("read", name, error) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Turn the disk's refusals to write into sentences about the remote."""
        self._check_folder()
        try:
            yield
        except OSError as error:
            raise self._error("write", name, error) from error

    def _error(self, action: str, name: str, error: OSError) -> Exception:
        """Say what the disk refused, as what the user can mend or as a fault."""
        if error.errno in _USERS_TURN:
            return ConfigError(
                f"cannot {action} {name} on the remote {self.url}: {os.strerror(error.errno)};"
                " give this user the right to, or choose another SPARRING_REMOTE"
            )
        reason = str(error) if isinstance(error, DiskError) else error.strerror or str(error)
        return RemoteError(f"cannot {action} {name} on the remote {self.url}: {reason}")


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is no object: unfinished, being removed, or our clock."""
    return name.startswith((TEMPORARY_PREFIX, TRASH_PREFIX)) or name == _CLOCK
