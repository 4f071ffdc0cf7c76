"""What a user pinned: artifacts and runs that housekeeping never drops."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from tasks.processes.identity import who_asks
from tasks.stages.runs.references import shared_records
from tasks.storage.errors import CorruptError
from tasks.storage.files import safe_join
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.base import Remote


@dataclass(frozen=True, slots=True)
class Pin:
    """An artifact or a run that a user wants to keep."""

    kind: Literal["artifact", "run"]
    """A run stands for all its stages."""
    name: str
    """The stage's key, or the run's id."""
    stage: str = ""
    """The stage that made a pinned artifact; empty for a run."""
    note: str = ""
    """The user's reason."""
    time: str = ""
    """When it was pinned, ISO 8601, UTC."""
    who: str = ""
    """Who pinned it, `USER@HOST`."""


def pin(home: Home, kind: Literal["artifact", "run"], name: str, *, stage: str, note: str) -> Pin:
    """Keep an artifact or a run from now on; on the remote, where there is one, for every machine.

    An earlier pin of that name is replaced.
    """
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    made = Pin(kind, name, stage, note, moment, who_asks())
    shared_records(home).put(_name(home, name), sealed_json(asdict(made)).encode())
    return made


def unpin(home: Home, name: str) -> bool:
    """Let a pinned thing go; returns whether it was pinned."""
    records = shared_records(home)
    if records.get(_name(home, name)) is None:
        return False
    records.delete(_name(home, name))
    return True


def list_pins(home: Home) -> list[Pin]:
    """Return all pins, by name.

    Raises:
        CorruptError: When one cannot be read: what it kept must not be dropped by mistake.
    """
    records = shared_records(home)
    return [_read(records, name) for name in records.names("pins/")]


def _name(home: Home, name: str) -> str:
    """Return the object of a pin; refuses a name that leads elsewhere."""
    safe_join(home.root, name)
    return f"pins/{name}.json"


def _read(records: Remote, name: str) -> Pin:
    """Read one pin."""
    try:
        return Pin(**unsealed_json(records.get(name) or b"", name))
    except (CorruptError, TypeError) as error:
        raise CorruptError(
            f"{name} on {records.url} is no pin ({error}): pin it again, or remove that file"
        ) from error
