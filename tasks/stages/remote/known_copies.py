"""What of this machine is whole on the remote, asked of the remote itself and not remembered."""

from __future__ import annotations

from tasks.stages.manifest import Manifest
from tasks.stages.remote.layout import check_layout, manifest_name, read_object
from tasks.storage.errors import CorruptError
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.object_transfer import object_name

OBJECTS = "store/files/md5/"
"""What the names of all objects on the remote begin with."""


class RemoteCopies:
    """A listing of the remote as it was when this was made.

    Args:
        remote: The remote, which is listed once.
    """

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
