"""Tells from a lease whether anybody still works on a key."""

from __future__ import annotations

import math

from tasks.processes.identity import ProcessIdentity
from tasks.stages.leases.lease import owner_silence_of
from tasks.stages.remote.layout import beat_name, newest_token, read_object, token_name
from tasks.storage.errors import CorruptError
from tasks.storage.fencing import read_lease
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote


def owner_silence(home: Home, remote: Remote | None, key: str) -> float | None:
    """Return for how long the owner of a key has not renewed its lease, on the remote if any.

    Returns:
        Seconds; infinity when the owner is surely dead; None when nobody holds the key.
    """
    try:
        if remote is not None:
            return _remote_silence(remote, key)
        return owner_silence_of(read_lease(home.leases / f"{key}.json"))
    except (KeyError, TypeError):
        return None


def _remote_silence(remote: Remote, key: str) -> float | None:
    """Read the newest lease on the remote; ages are by the remote's clock."""
    token = newest_token(remote, key)
    try:
        record = read_object(remote, token_name(key, token)) if token else None
        if record is None or record["owner"] is None:
            return None
        if ProcessIdentity.from_json(record["owner"]).is_known_dead():
            return math.inf
    except CorruptError:
        pass  # held by somebody unknown, until the ages below say that he is gone
    ages = (remote.age(beat_name(key, token)), remote.age(token_name(key, token)))
    return min((age for age in ages if age is not None), default=None)
