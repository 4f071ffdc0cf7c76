"""What a remote does: it holds small records and big files by name for several machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tasks.settings.errors import ConfigError
from tasks.settings.passwords import without_passwords
from tasks.storage.digests import FileDigest
from tasks.storage.errors import CorruptError, StorageError


class RemoteError(StorageError):
    """The remote did not do what was asked, after every retry that makes sense."""

    def __init__(self, message: str) -> None:
        """Take the sentence; an endpoint's address may hold a password."""
        super().__init__(without_passwords(message))


class DamagedError(RemoteError, CorruptError):
    """Bytes on the remote, or about to go there, are not what their digest says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at on a remote."""

    subject: str
    """What: reachable, writable, encrypted, not public, versioned, tidied."""
    state: Literal["ok", "bad", "unknown"]
    """`unknown` where the server does not say; that alone is no fault."""
    detail: str
    """What was found, and what to do if it is bad."""


class Remote(Protocol):
    """A place for whole objects under posix names such as `manifests/train/KEY.json`.

    A reader sees an old object or a new one, never a part. Faults that pass are waited out inside.
    Every method raises `ConfigError` for what only the user can mend (no such bucket, no
    credentials, no permission) and `RemoteError` for what did not go away.
    """

    url: str
    """Where it is; never holds credentials."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing what was there."""

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one; of many callers at once exactly one gets True."""

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""

    def names(self, prefix: str) -> list[str]:
        """Return the full names that begin with `prefix` (end it in `/` for a folder), sorted."""

    def age(self, name: str) -> float | None:
        """Return the seconds since an object was written, both instants by the remote's clock."""

    def delete(self, name: str) -> None:
        """Remove an object; an absent one is fine."""

    def upload(self, name: str, path: Path, *, md5: str | None = None) -> None:
        """Copy a file of any size there; it is visible only when it is whole.

        Args:
            name: The object.
            path: The file.
            md5: What the file should be, checked while it is read (hex).

        Raises:
            DamagedError: The file is not what `md5` says; nothing is visible then.
        """

    def download(self, name: str, path: Path) -> None:
        """Copy an object into a file, which appears only when it is whole.

        Raises:
            DamagedError: Its bytes are not what the remote noted when it was written.
            RemoteError: The remote failed, or there is no such object.
        """

    def content(self, name: str) -> FileDigest | None:
        """Read an object through for its size and digests, keeping nothing; None without one."""

    def size(self, name: str) -> int | None:
        """Return an object's bytes without reading it, or None when there is none."""

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object that `names(prefix)` would list, in as few requests."""

    def sweep(self, older_than: float = 3600.0) -> int:
        """Remove what writers that died left unfinished, and return how many such things."""

    def findings(self) -> list[Finding]:
        """Look at the remote for `sparring doctor`; raises nothing."""


def damaged_file(path: Path, expected: str, found: str) -> DamagedError:
    """Return the error about a local file that is not what its MD5 says."""
    return DamagedError(
        f"{path} is damaged: its MD5 is {found} and should be {expected}; nothing of it was pushed."
        " Remove it; it is made again, or fetched from the remote if that has a good copy"
    )


def no_conditional_writes(place: str) -> ConfigError:
    """Return the error about a place where two writers of one name can both believe they won."""
    return ConfigError(
        f"{place} lets a name be written twice where it was asked not to (If-None-Match: *), so two"
        " machines could do the same work and overwrite each other: use a store that honours it,"
        " such as Amazon S3 or SeaweedFS 4.18, or a folder on a disk that all of them mount"
    )
