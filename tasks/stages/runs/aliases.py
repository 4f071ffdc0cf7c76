"""Aliases: `candidate` and `champion` of a flow, each with its whole history.

A move is a numbered record, written only if that number is free, so of two moves at once one wins.
History is never rewritten: going back is a move too. Where there is a remote, it is the truth for
every machine.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tasks.processes.identity import who_asks
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact
from tasks.stages.manifest import artifact_folder
from tasks.stages.runs.model_pointer import model_pointer
from tasks.stages.runs.references import referenced_artifact, shared_records
from tasks.stages.runs.states import project_of
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import Spool
from tasks.tracking.store.named_links import link_names

CANDIDATE, CHAMPION = "candidate", "champion"
ALIASES = (CANDIDATE, CHAMPION)
ROLES = ("policy", "reward_model")

_log = logging.getLogger("sparring.stages")


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """One move of an alias."""

    number: int
    """Number of the move, from 1, without gaps."""
    flow: str
    """The flow whose models the alias names."""
    alias: str
    """candidate or champion."""
    models: dict[str, str]
    """`STAGE/KEY` by role: policy, reward_model."""
    digests: dict[str, str]
    """DVC's md5 of each, by role."""
    run: str
    """The run that made the models."""
    time: str
    """When the alias moved, ISO 8601, UTC."""
    reason: str
    """The reason for the move, in a few words."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """Metrics that the gate saw, and `STAGE/KEY` of the decision."""
    restores: int = 0
    """The number of the record that this one goes back to; 0 for a new model."""
    basis: dict[str, str] = field(default_factory=dict)
    """`STAGE/KEY` by name of what the models were measured with and against."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the run that made the models."""
    who: str = ""
    """Who moved the alias, `USER@HOST`."""


class AliasMovedError(StorageError):
    """Somebody else moved the alias in the meantime."""


def log_alias(home: Home, spool: Spool | None, record: AliasRecord) -> None:
    """Let MLflow's registered models follow an alias."""
    if spool is None:
        return
    remote = open_remote()
    pointers = {
        role: model_pointer(home, remote, reference, record.digests[role], reference[:-48], role)
        for role, reference in record.models.items()
    }
    keys = {role: str(pointer["key"]) for role, pointer in pointers.items()}
    spool.alias_moved(record.flow, record.alias, keys, record.evidence, pointers=pointers)


def alias_history(home: Home, flow: str, alias: str) -> list[AliasRecord]:
    """Return every move of an alias, the oldest first; nothing where it was never set.

    Raises:
        CorruptError: A record is damaged, naming it.
    """
    records, names = _records(home, flow, alias)
    history = [_read(records, name) for name in names if records is not None]
    if [record.number for record in history] != list(range(1, len(history) + 1)):
        raise CorruptError(f"moves of the {alias} of {flow} are missing: {', '.join(names)}")
    return history


def current_alias(home: Home, flow: str, alias: str) -> AliasRecord | None:
    """Return what an alias names now, or None."""
    records, names = _records(home, flow, alias)
    return _read(records, names[-1]) if records is not None and names else None


def require_alias(home: Home, flow: str, alias: str) -> AliasRecord:
    """Return what an alias names now.

    Raises:
        ConfigError: When the alias was never set.
    """
    record = current_alias(home, flow, alias)
    if record is None:
        how = {
            CANDIDATE: _way_to_candidate(flow),
            CHAMPION: f"`sparring promote --flow {flow}` sets it",
        }
        raise ConfigError(f"{flow} has no {alias} yet; {how[alias]}")
    return record


def _way_to_candidate(flow: str) -> str:
    project, name = project_of(flow)
    if project:
        return "a scheduled run that ends well sets it, of any other run `sparring promote RUN`"
    return f"every run of {name} that ends well sets it: `sparring run {name}`"


def alias_models(home: Home, record: AliasRecord) -> dict[str, Artifact]:
    """Return the models of an alias by role.

    Raises:
        ConfigError: One is gone from here and from the remote.
    """
    who = f"the {record.alias} of {record.flow} (run {record.run})"
    return {
        role: referenced_artifact(home, reference, record.alias, said_by=f"{role} of {who}")
        for role, reference in record.models.items()
    }


def move_alias(home: Home, draft: AliasRecord, after: int | None = None) -> AliasRecord:
    """Let an alias name other models, and return the new record.

    Args:
        home: The home that holds the records, unless there is a remote.
        draft: The record to write; its number and time are filled in.
        after: The number of the newest record that the caller knows; None to go behind any.

    Raises:
        AliasMovedError: Another record came after `after`.
    """
    records = shared_records(home)
    while True:
        now = current_alias(home, draft.flow, draft.alias)
        number = now.number if now else 0
        if after is not None and number != after:
            raise AliasMovedError(
                f"the {draft.alias} of {draft.flow} was moved meanwhile: it is run "
                f"{now.run if now else '-'} since {now.time if now else '-'}; look at "
                "`sparring ls aliases`, then ask again"
            )
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        record = replace(draft, number=number + 1, time=moment, who=who_asks())
        name = f"{_folder(draft.flow, draft.alias)}{record.number:06d}.json"
        if records.put_if_absent(name, sealed_json(asdict(record)).encode()):
            folders = {
                role: artifact_folder(home, *one.split("/")) for role, one in record.models.items()
            }
            link_names(home.named, f"aliases/{record.flow}/{record.alias}", folders)
            return record


def records_before(history: list[AliasRecord]) -> list[AliasRecord]:
    """Return what an alias named before its present models, the newest first.

    Going back goes further back.

    Example:
        A, B, back to A: before that there was nothing, not B.
    """
    stack: list[AliasRecord] = []
    for record in history:
        if record.restores:
            while stack and stack[-1].number != record.restores:
                stack.pop()
        else:
            stack.append(record)
    return stack[-2::-1]


def list_aliases(home: Home, *, strict: bool = False) -> list[AliasRecord]:
    """Return what every alias of every flow names now: the roots that must never be collected.

    Raises:
        CorruptError: When one is damaged, if `strict`; else it is left out with a warning.
    """
    if open_remote() is None and not home.root.is_dir():
        return []
    # Those of a home whose remote is new are not there yet; to read one publishes its history.
    local = FolderRemote(home.root).names("aliases/") if home.root.is_dir() else []
    names = [*shared_records(home).names("aliases/"), *local]
    pairs = sorted({tuple(name.split("/")[1:3]) for name in names if name.count("/") == 3})
    found = []
    for flow, alias in pairs:
        try:
            found.append(current_alias(home, flow, alias))
        except CorruptError as error:
            if strict:
                raise
            _log.warning("%s", error)
    return [record for record in found if record is not None]


def _records(home: Home, flow: str, alias: str) -> tuple[Remote | None, list[str]]:
    """Return where the moves of an alias are kept and their names, the oldest first."""
    if open_remote() is None and not home.root.is_dir():
        return None, []
    records = shared_records(home)
    names = records.names(_folder(flow, alias))
    if not names and open_remote() is not None:
        names = _publish_local(home, records, flow, alias)
    return records, names


def _folder(flow: str, alias: str) -> str:
    return f"aliases/{flow}/{alias}/"


def _read(records: Remote, name: str) -> AliasRecord:
    """Read one record."""
    try:
        record = AliasRecord(**unsealed_json(records.get(name) or b"", f"{records.url}/{name}"))
    except TypeError as error:
        raise CorruptError(f"{records.url}/{name} is no record of an alias: {error}") from error
    if not name.endswith(f"/{record.number:06d}.json"):
        raise CorruptError(f"{records.url}/{name} is the record of move {record.number}")
    return record


def _publish_local(home: Home, records: Remote, flow: str, alias: str) -> list[str]:
    """Give a new remote the history that was begun without one."""
    local = FolderRemote(home.root)
    for name in local.names(_folder(flow, alias)) if home.root.is_dir() else []:
        records.put_if_absent(name, local.get(name) or b"")
    return records.names(_folder(flow, alias))
