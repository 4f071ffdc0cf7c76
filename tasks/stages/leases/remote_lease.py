"""The same lease for machines that share nothing but the remote.

The owners of a key are numbered objects that only one caller can create each; the newest number
holds the key. The owner rewrites a second object, and its age, by the remote's own clock, tells the
others how long it has been silent. While the remote cannot be reached nobody can take over either,
so an owner loses the key only when a newer number is there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.settings.errors import ConfigError
from tasks.stages.leases.lease import (
    Lease,
    LeaseLostError,
    Result,
    acquire_lease,
    lease_ttl,
    wait_for_turn,
)
from tasks.stages.remote import layout
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.home import Home
from tasks.storage.plain import json_text
from tasks.tracking.remote.base import Remote

_log = logging.getLogger("sparring.stages")


class RemoteLease:
    """The right to work on one key among all machines, as long as its number is the newest.

    Attributes:
        token: Number of this attempt among those of all machines, from 1.
    """

    def __init__(self, remote: Remote, key: str, token: int) -> None:
        """Hold an acquired number and begin to beat; use `acquire_everywhere` instead."""
        self.token = token
        self._remote, self._key = remote, key
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._has_beaten = False
        threading.Thread(target=self._beat, name="remote-lease", daemon=True).start()

    def check(self) -> None:
        """Raise `LeaseLostError` if another machine holds the key now."""
        if self._lost.is_set() or self._is_superseded():
            self._lost.set()
            raise LeaseLostError(
                f"attempt {self.token} at {self._key[:16]} lost its lease: it was silent for over "
                f"{lease_ttl():g} s and another machine took over; nothing of it is kept"
            )

    def release(self) -> None:
        """Give the key back; fine if it was lost."""
        self._stop.set()
        if self._lost.is_set():
            return
        try:
            name = layout.token_name(self._key, self.token)
            layout.write_object(self._remote, name, _record(None))
            if self._has_beaten:
                self._remote.delete(layout.beat_name(self._key, self.token))
        except (StorageError, ConfigError) as error:
            _log.warning("the lease of %s stays until it runs out: %s", self._key[:16], error)

    def _is_superseded(self) -> bool:
        """Tell whether a newer number is there."""
        return self._remote.get(layout.token_name(self._key, self.token + 1)) is not None

    def _beat(self) -> None:
        """Rewrite the beating object a few times per time to live until released or lost."""
        while not self._stop.wait(lease_ttl() / 6):
            try:
                if self._is_superseded():
                    self._lost.set()
                    return
                self._has_beaten = True
                self._remote.put(layout.beat_name(self._key, self.token), b"")
            except (StorageError, ConfigError) as error:
                _log.warning("cannot renew the lease of %s: %s", self._key[:16], error)


def acquire_everywhere(
    home: Home,
    remote: Remote | None,
    key: str,
    *,
    is_done: Callable[[], Result | None],
    say: Callable[[str], None],
) -> Lease | Result:
    """Wait for the right to work on a key, on this machine and among all that share the remote.

    Arguments and answer are those of `wait_for_turn`; without a remote, this machine is all.
    """
    lease = acquire_lease(home.leases, key, is_done=is_done, say=say)
    if remote is None or not isinstance(lease, Lease):
        return lease
    shared: RemoteLease | Result | None = None
    try:
        layout.check_layout(remote, to_write=True)
        shared = wait_for_turn(lambda: _try_acquire(remote, key), is_done=is_done, say=say)
        if isinstance(shared, RemoteLease):
            lease.share(shared)
            return lease
    except BaseException:
        if isinstance(shared, RemoteLease):
            shared.release()
        lease.release()
        raise
    lease.release()
    return shared


def _try_acquire(remote: Remote, key: str) -> tuple[RemoteLease | None, ProcessIdentity | None]:
    """Take a key that is free or whose owner is gone; else return the owner."""
    newest = _newest_token(remote, key)
    if newest:
        is_held, owner = _holder(remote, key, newest)
        if is_held and not _is_gone(remote, key, newest, owner):
            return None, owner
    data = json_text(_record(current_process())).encode()
    if not remote.put_if_absent(layout.token_name(key, newest + 1), data):
        return None, None
    return RemoteLease(remote, key, newest + 1), None


def _newest_token(remote: Remote, key: str) -> int:
    """Return the highest number; a listing may lag behind, so the next ones are asked for."""
    if remote.get(layout.token_name(key, 1)) is None:
        return 0  # mostly so, and nothing needs to be listed
    newest = max(1, layout.newest_token(remote, key))
    while remote.get(layout.token_name(key, newest + 1)) is not None:
        newest += 1
    return newest


def _holder(remote: Remote, key: str, token: int) -> tuple[bool, ProcessIdentity | None]:
    """Tell whether a number is held, and by whom; a damaged one is held by somebody unknown."""
    try:
        record = layout.read_object(remote, layout.token_name(key, token)) or _record(None)
        owner = ProcessIdentity.from_json(record["owner"]) if record["owner"] else None
    except (CorruptError, KeyError, TypeError) as error:
        _log.warning("lease %d of %s counts as held: %s", token, key[:16], error)
        return True, None
    return owner is not None, owner


def _is_gone(remote: Remote, key: str, token: int, owner: ProcessIdentity | None) -> bool:
    """Tell whether an owner died, or has been silent for longer than the time to live."""
    if owner is not None and owner.is_known_dead():
        return True
    ages = (remote.age(layout.beat_name(key, token)), remote.age(layout.token_name(key, token)))
    silent = min((age for age in ages if age is not None), default=0.0)
    if silent > lease_ttl():
        who = owner or "an unknown process"
        _log.warning("taking over from %s, silent for %.0f s", who, silent)
    return silent > lease_ttl()


def _record(owner: ProcessIdentity | None) -> dict[str, Any]:
    """Return the content of a number's object."""
    return {"owner": owner.to_json() if owner else None}
