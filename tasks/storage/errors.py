"""What can go wrong with files that have to last; all of it ends the command with exit code 1."""

from __future__ import annotations


class StorageError(Exception):
    """Something in the store, or on the way to it, is not as it must be."""

    exit_code = 1


class CorruptError(StorageError):
    """Bytes on disk are not the bytes that were written."""


class LockTimeoutError(StorageError):
    """Somebody else kept a lock for longer than the caller wanted to wait."""

    def __init__(self, message: str, holder: str) -> None:
        """Take the whole sentence, and the name of who holds the lock."""
        super().__init__(message)
        self.holder = holder


class UnsafePathError(StorageError):
    """A name would lead out of the folder it belongs in."""


class DiskError(StorageError, OSError):
    """The disk refused a write: full, over quota, read-only or failing.

    It is an `OSError` too, so `errno` and `filename` are there.
    """

    def __str__(self) -> str:
        return str(self.strerror)
