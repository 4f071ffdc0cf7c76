"""Who did what to a store and its schedules; what leaves no record of its own is written here."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from uuid import uuid4

from tasks.processes.identity import who_asks
from tasks.stages.lineage.bans import list_bans
from tasks.stages.retention.pins import list_pins
from tasks.stages.runs.aliases import alias_history, list_aliases
from tasks.stages.runs.references import shared_records
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json

_FOLDER = "operations/"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that somebody did."""

    time: str
    """When, ISO 8601, UTC."""
    who: str
    """Who, `USER@HOST`; empty where an older version did not write it down."""
    verb: str
    """The command's word, such as gc; of a move of an alias, the alias."""
    what: str
    """What it was done to, and why, in a few words."""


def record_operation(home: Home, verb: str, what: str) -> Operation:
    """Write down that somebody did something; on the remote, where there is one."""
    made = Operation(datetime.now(UTC).isoformat(timespec="seconds"), who_asks(), verb, what)
    name = f"{_FOLDER}{time.time_ns():020d}-{uuid4().hex[:8]}.json"
    shared_records(home).put_if_absent(name, sealed_json(asdict(made)).encode())
    return made


def list_operations(home: Home) -> list[Operation]:
    """Return what was done, the newest first: moves of aliases, pins and bans that stand, and more.

    Raises:
        CorruptError: A record is damaged.
    """
    if not home.root.is_dir():
        return []
    records = shared_records(home)
    found = []
    for name in records.names(_FOLDER):
        try:
            values = unsealed_json(records.get(name) or b"", f"{records.url}/{name}")
            found.append(Operation(**values))
        except TypeError as error:
            raise CorruptError(f"{records.url}/{name} is no operation: {error}") from error
    for now in list_aliases(home):
        for move in alias_history(home, now.flow, now.alias):
            what = f"{move.flow}/{move.alias} is {move.run}: {move.reason}"
            found.append(Operation(move.time, move.who, move.alias, what))
    for pin in list_pins(home):
        note = f": {pin.note}" if pin.note else ""
        found.append(Operation(pin.time, pin.who, "pin", f"{pin.kind} {pin.name[:24]}{note}"))
    for ban in list_bans(home):
        what = f"the policy of {ban.run}: {ban.why}"
        found.append(Operation(ban.time, ban.who, "demote --ban", what))
    return sorted(found, key=lambda one: one.time, reverse=True)
