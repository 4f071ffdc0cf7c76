"""Create-if-absent on an object store that cannot do it by itself.

AWS and most others honour `If-None-Match: *`; OpenStack swift 2.30 answers 501. There, whoever
wants a name looks whether anybody else does, leaves a claim with its bytes, lets the store settle,
and looks at all claims: the lowest wins and writes the object. Two cannot both win if a write, once
answered, is seen by every later listing, and if whoever was slow between looking and claiming
withdraws. All machines must use the same `SPARRING_REMOTE_SETTLE`.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Protocol

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import RemoteError

SETTLE = "SPARRING_REMOTE_SETTLE"
"""The environment variable with the seconds between claiming a name and looking who won it."""

CLAIMS = ".claims/"
"""Begins the names of claims; `names` does not show them."""

_SETTLE_SECONDS = 0.5
_DEAD_SECONDS = 20.0
_GIVE_UP_SECONDS = 120.0
_POLL_SECONDS = 0.05


class Store(Protocol):
    """What the claims need of the object store."""

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes."""
        ...

    def signed_put(self, name: str, data: bytes, writer: str) -> None:
        """Write an object that remembers who wrote it."""
        ...

    def writer(self, name: str) -> str | None:
        """Return who wrote an object, "" for nobody known, None when there is none."""
        ...

    def all_names(self, prefix: str) -> list[str]:
        """Return the names below a prefix, claims too."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object."""
        ...


def settle_seconds() -> float:
    """Return the seconds a claim waits; raises `ConfigError` for no number."""
    text = os.environ.get(SETTLE, "")
    try:
        seconds = float(text) if text else _SETTLE_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 60:
        raise ConfigError(f"{SETTLE} is {text!r}: give seconds above 0 and up to 60, such as 0.5")
    return seconds


def claim(store: Store, name: str, data: bytes) -> bool:
    """Create `name` unless it exists; of many callers at once exactly one gets True.

    Args:
        store: the object store; its listings show every finished write.
        name: the object.
        data: its bytes.

    Raises:
        RemoteError: the store is too slow for the time that claims settle in.
    """
    settle = settle_seconds()
    mine: set[str] = set()
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        looked = time.monotonic()
        others = store.all_names(f"{CLAIMS}{name}/")
        if (writer := store.writer(name)) is not None:
            return writer in mine
        if others:
            # Somebody was here first; after a crash their claim is carried out for them.
            _await_winner(store, name, mine)
            continue
        token = secrets.token_hex(16)
        mine.add(token)
        store.signed_put(_path(name, token), data, token)
        if time.monotonic() - looked > 0.8 * settle:
            # Too slow: others may have looked and decided without seeing this claim.
            store.delete(_path(name, token))
            time.sleep(settle)
            continue
        time.sleep(settle)
        if _await_winner(store, name, mine):
            return True
    raise RemoteError(
        f"the object store takes too long to claim {name}: it has no conditional writes, and claims"
        f" settle in {settle:g} s; set {SETTLE} to more on every machine"
    )


def _await_winner(store: Store, name: str, mine: set[str]) -> bool:
    """Wait until `name` exists or nobody claims it any more; carry a claim out if it is the lowest.

    Returns:
        Whether the object is one of `mine`.
    """
    since, lowest = time.monotonic(), ""
    while True:
        claims = store.all_names(f"{CLAIMS}{name}/")
        if (writer := store.writer(name)) is not None:
            for token in mine:
                store.delete(_path(name, token))
            return writer in mine
        if not claims:
            return False
        token = claims[0].rpartition("/")[2]
        if token != lowest:
            since, lowest = time.monotonic(), token
        if token in mine or time.monotonic() - since > _DEAD_SECONDS:
            data = store.get(claims[0])
            if data is not None:
                store.signed_put(name, data, token)
                store.delete(claims[0])
            continue
        time.sleep(_POLL_SECONDS)


def _path(name: str, token: str) -> str:
    """Return the name of a claim."""
    return f"{CLAIMS}{name}/{token}"
