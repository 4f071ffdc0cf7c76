"""What is known to be whole on the remote: remembered from earlier, or listed anew.

A stage believes what this machine has seen there; housekeeping, which drops the last copies, asks
the remote itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.stages.manifest import Manifest
from tasks.stages.remote.layout import check_layout, manifest_name, read_object
from tasks.storage.errors import CorruptError
from tasks.storage.files import put_if_absent, remove_tree
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.object_transfer import object_name

OBJECTS = "store/files/md5/"
"""What the names of all objects on the remote begin with."""


def is_pushed(home: Home, remote: Remote, name: str) -> bool:
    """Tell, without asking the remote, whether an artifact was seen whole there.

    Its name is a stage's key, or the digest of a user's file.
    """
    return _pushed_path(home, remote, name).exists()


def remember_pushed(home: Home, remote: Remote, name: str) -> None:
    """Note that an artifact is whole on the remote."""
    put_if_absent(_pushed_path(home, remote, name), "")


def forget_pushed(home: Home, remote: Remote, name: str) -> None:
    """Note that an artifact is not, or no longer, whole on the remote."""
    remove_tree(_pushed_path(home, remote, name))


class RemoteCopies:
    """A listing of the remote as it was when this was made."""

    def __init__(self, remote: Remote) -> None:
        check_layout(remote)
        self._remote = remote
        self._manifests = set(remote.names("manifests/"))
        self._objects = remote.sizes(OBJECTS)

    def holds(self, manifest: Manifest) -> bool:
        """Tell whether an artifact is there: its manifest, of the same result, and every file."""
        name = manifest_name(manifest.stage, manifest.key)
        if name not in self._manifests:
            return False
        if any(self._objects.get(object_name(one.md5)) != one.size for one in manifest.files):
            return False
        try:
            theirs = read_object(self._remote, name)
        except CorruptError:
            return False
        return theirs is not None and theirs.get("digest") == manifest.digest


def _pushed_path(home: Home, remote: Remote, name: str) -> Path:
    """Return the file that remembers what a remote holds."""
    place = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
    return home.root / "pushed" / place / name
