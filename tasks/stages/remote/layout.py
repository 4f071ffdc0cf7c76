"""The names of objects on the remote, and the version of their arrangement."""

from __future__ import annotations

import json
import re
from typing import Any

from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.plain import json_text
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.base import Remote

LAYOUT = 2
"""The arrangement of names and keys that this version reads and writes."""

_VERSION = "version.json"
_readable: set[str] = set()
_writable: set[str] = set()


def manifest_name(stage: str, key: str) -> str:
    """Return the object that says, by being there, that a stage is done for everybody."""
    return f"manifests/{stage}/{key}.json"


def token_name(key: str, token: int) -> str:
    """Return the object that names the owner of the `token`-th attempt at a key."""
    return f"{lease_folder(key)}{token:06d}.json"


def newest_token(remote: Remote, key: str) -> int:
    """Return the highest listed number of an attempt at a key; 0 for none."""
    found = (re.search(r"/(\d{6})\.json$", name) for name in remote.names(lease_folder(key)))
    return max((int(match.group(1)) for match in found if match), default=0)


def beat_name(key: str, token: int) -> str:
    """Return the object whose age tells how long that owner has been silent."""
    return f"{lease_folder(key)}{token:06d}.beat"


def lease_folder(key: str) -> str:
    """Return what the names of a key's leases begin with."""
    return f"leases/{key}/"


def work_folder(key: str) -> str:
    """Return what the names of a key's finished parts begin with."""
    return f"work/{key}/"


def runs_folder(run_id: str) -> str:
    """Return what the names of a run's records begin with."""
    return f"runs/{run_id}/"


def external_name(digest: str) -> str:
    """Return the object that lists the files of a user's file or folder."""
    return f"external/{digest}.json"


def check_layout(remote: Remote, *, to_write: bool = False) -> None:
    """Refuse a remote that another version wrote; a new one is marked as ours before a write.

    The remote is asked once per process.

    Raises:
        StorageError: When another version wrote it; nothing is touched then.
    """
    if remote.url in _writable or (not to_write and remote.url in _readable):
        return
    found = read_object(remote, _VERSION)
    layout = LAYOUT if found is None else found.get("layout")
    if not isinstance(layout, int):
        raise CorruptError(f"{_VERSION} on {remote.url} has no layout number")
    if layout > LAYOUT:
        raise StorageError(
            f"the remote {remote.url} was written by a newer version of sparring (layout {layout},"
            f" this one knows {LAYOUT}): upgrade sparring"
        )
    if layout < LAYOUT:
        raise StorageError(
            f"the remote {remote.url} was written by an older version of sparring (layout {layout},"
            f" this one knows {LAYOUT}), whose results cannot be used here: let SPARRING_REMOTE "
            "name an empty place, or keep the older release"
        )
    if to_write:
        if found is None:
            remote.put_if_absent(_VERSION, (json_text({"layout": LAYOUT}) + "\n").encode())
        _writable.add(remote.url)
    _readable.add(remote.url)


def read_object(remote: Remote, name: str) -> dict[str, Any] | None:
    """Return a small JSON object with its seal, or None when there is none.

    Raises:
        CorruptError: When it is not what was written, naming it.
    """
    data = remote.get(name)
    if data is None:
        return None
    unsealed_json(data, f"{name} on {remote.url}")
    return dict(json.loads(data))


def write_object(remote: Remote, name: str, values: dict[str, Any]) -> None:
    """Write a small JSON object, replacing what was there."""
    remote.put(name, sealed_json(values).encode())
