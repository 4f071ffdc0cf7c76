"""What this machine has seen whole on the remote, so that it need not ask again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.settings.errors import StageError
from tasks.storage.files import put_if_absent, remove_tree
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote


class ArtifactLostError(StageError):
    """The bytes of a finished stage are damaged or gone everywhere; it has to run again.

    Attributes:
        key: The key of the stage.
    """

    def __init__(self, message: str, key: str) -> None:
        """Say what is lost."""
        super().__init__(message)
        self.key = key


def is_pushed(home: Home, remote: Remote, name: str) -> bool:
    """Tell, without asking the remote, whether an artifact was seen whole there.

    Args:
        home: The home that remembers it.
        remote: The remote that was pushed to or fetched from.
        name: A stage's key, or the digest of a user's file.
    """
    return _pushed_path(home, remote, name).exists()


def remember_pushed(home: Home, remote: Remote, name: str) -> None:
    """Note that an artifact is whole on the remote."""
    put_if_absent(_pushed_path(home, remote, name), "")


def forget_pushed(home: Home, remote: Remote, name: str) -> None:
    """Note that an artifact is not, or no longer, whole on the remote."""
    remove_tree(_pushed_path(home, remote, name))


def _pushed_path(home: Home, remote: Remote, name: str) -> Path:
    """Return the file that remembers what a remote holds."""
    place = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
    return home.root / "pushed" / place / name
