"""What housekeeping must keep: everything that the roots were made from.

Roots are the aliases' models, what is pinned, by hand or by a yardstick, the newest completed runs
of each flow, runs that can still be resumed, and whatever is being worked on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.settings.errors import StageError
from tasks.stages.leases.lease import lease_ttl
from tasks.stages.leases.liveness import owner_silence
from tasks.stages.manifest import Manifest
from tasks.stages.retention.pins import list_pins
from tasks.stages.retention.yardsticks import pinned_by_yardsticks
from tasks.stages.runs import aliases
from tasks.stages.runs.run_journal import journal_file
from tasks.stages.runs.run_store import Run, config_file, list_runs, read_runs
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.storage.journal import read_records
from tasks.storage.plain import json_text
from tasks.storage.sealed import read_sealed

_WEIGHTS = ".safetensors"
_KEY = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of how long artifacts and unfinished work are kept."""

    keep_runs: int = 3
    """Completed runs of each flow whose artifacts stay, the newest ones."""
    keep_weights: int | None = None
    """Of how many of those the models stay too; the models that only others were made from go too,
    but for those of aliases and pins. None: all of `keep_runs`, and what they come from."""
    days: float = 30.0
    """For how long a run that stopped can be resumed: its artifacts and unfinished work, training
    checkpoints with the optimiser's state among them, stay so long."""
    trash_days: float = 7.0
    """For how long a result of which no copy is left stays in the trash, from which it comes back
    when it is needed; 0 frees its bytes at once."""
    grace_seconds: float = 3600.0
    """Nothing that was made or used more recently is touched."""


@dataclass(frozen=True, slots=True)
class Root:
    """An artifact that stays, with everything that it was made from."""

    key: str
    """The stage's key."""
    why: str
    """The reason why it stays, for people."""
    has_weights: bool = True
    """Whether its own weights stay when weights are kept apart."""


def find_roots(home: Home, policy: Policy) -> list[Root]:
    """Return every root of a home, those that keep their weights first.

    Raises:
        CorruptError: When an alias or a pin cannot be read; nothing may be dropped then.
        StageError: When a run's record is damaged, for the same reason.
    """
    if damage := read_runs(home)[1]:
        raise StageError(f"cannot tell what is needed, and nothing is dropped: {damage[0]}")
    yardsticks = (Root(key, why) for key, why in pinned_by_yardsticks(home).items())
    named = [*_alias_roots(home), *_pin_roots(home), *yardsticks]
    roots = [*named, *_run_roots(home, policy), *_live_roots(home)]
    return sorted(roots, key=lambda root: not root.has_weights)


def reachable(manifests: Mapping[str, Manifest], roots: Iterable[Root]) -> dict[str, Root]:
    """Return each key that the roots are, or were made from, with the first root that needs it."""
    found: dict[str, Root] = {}
    for root in roots:
        pending = [root.key]
        while pending:
            key = pending.pop()
            if key in found:
                continue
            found[key] = root
            manifest = manifests.get(key)
            if manifest is not None:
                pending += [record.key for record in manifest.inputs.values() if record.key]
    return found


def why_dropped(
    manifests: Mapping[str, Manifest], roots: Iterable[Root], policy: Policy
) -> dict[str, str]:
    """Return the artifacts that may go, by key, each with the reason."""
    roots = list(roots)
    kept = reachable(manifests, roots)
    dropped = {key: "no kept run, alias or pin needs it" for key in manifests if key not in kept}
    if policy.keep_weights is not None:
        own = {root.key for root in roots if root.has_weights}
        for key in kept.keys() & manifests.keys() - own:
            if has_weights(manifests[key]):
                dropped[key] = f"weights beyond the newest {policy.keep_weights} runs of each flow"
    return dropped


def has_weights(manifest: Manifest) -> bool:
    """Tell whether an artifact holds the weights of a model."""
    return any(file.path.endswith(_WEIGHTS) for file in manifest.files)


def is_worked_on(home: Home, key: str) -> bool:
    """Tell whether somebody on this machine holds a key."""
    silence = owner_silence(home, None, key)
    return silence is not None and silence <= lease_ttl()


def worked_on(home: Home) -> list[str]:
    """Return the keys that are being worked on with this home."""
    keys = [path.stem for path in home.leases.glob("*.json")]
    return sorted(key for key in keys if is_worked_on(home, key))


def _alias_roots(home: Home) -> Iterator[Root]:
    """Yield what the aliases name, what the champion was before, and what was decided on."""
    for record in aliases.list_aliases(home, strict=True):
        yield from _record_roots(record, f"{record.alias} of {record.flow}")
        if record.alias == aliases.CHAMPION:
            history = aliases.alias_history(home, record.flow, record.alias)
            before = next(iter(aliases.records_before(history)), None)
            if before is not None:
                yield from _record_roots(before, f"the champion of {record.flow} before this one")


def _record_roots(record: aliases.AliasRecord, why: str) -> Iterator[Root]:
    # The gate measures others with what these were measured with.
    for reference in (*record.models.values(), *record.basis.values()):
        yield Root(reference.partition("/")[2], why)
    for key in _KEY.findall(json.dumps(record.evidence)):
        yield Root(key, f"evidence for the {why}", has_weights=False)


def _pin_roots(home: Home) -> Iterator[Root]:
    records = {run.id: run.journal_records for run in list_runs(home)}
    for one in list_pins(home):
        why = f"pinned{f': {one.note}' if one.note else ''}"
        keys = {one.name}
        if one.kind == "run":
            keys = _keys_of(home, one.name, records.get(one.name, 0))
        yield from (Root(key, why) for key in keys)


def _run_roots(home: Home, policy: Policy) -> Iterator[Root]:
    """Yield the stages of the newest completed runs of each flow, and of those not completed."""
    limit = datetime.now(UTC) - timedelta(days=policy.days)
    completed: dict[str, int] = {}
    for run in list_runs(home):
        if run.status == "completed":
            place = completed[run.flow] = completed.get(run.flow, 0) + 1
            if place > policy.keep_runs:
                continue
            has_weights = policy.keep_weights is None or place <= policy.keep_weights
        elif run.status == "running" or datetime.fromisoformat(run.updated) > limit:
            has_weights = True
        else:
            continue
        why = f"run {run.id}" if run.status == "completed" else f"run {run.id} is {run.status}"
        yield from (Root(key, why, has_weights) for key in _run_keys(home, run))


def _run_keys(home: Home, run: Run) -> set[str]:
    """Return the stages a run called, and those that its configuration names to start from."""
    keys = _keys_of(home, run.id, run.journal_records)
    try:
        keys.update(_KEY.findall(config_file(home, run.id).read_text("utf-8")))
    except FileNotFoundError:
        pass
    except CorruptError as error:
        raise _unknown_needs(run.id, error) from error
    return keys


def _keys_of(home: Home, run: str, records: int) -> set[str]:
    """Return the keys of the stages that a run called.

    Raises:
        StageError: When its journal is damaged or has fewer than so many records: what the run
            needs cannot be known.
    """
    try:
        events = read_records(journal_file(home, run))
        if len(events) < records:
            raise CorruptError(f"its stages.journal was cut: {len(events)} of {records} records")
        return {event["key"] for event in events}
    except (CorruptError, KeyError) as error:
        raise _unknown_needs(run, error) from error


def _unknown_needs(run: str, error: Exception) -> StageError:
    return StageError(
        f"cannot tell what run {run} needs ({error}); nothing is dropped: `sparring resume {run}` "
        "finds its stages done and writes them down again, or remove its folder to give it up"
    )


def _live_roots(home: Home) -> Iterator[Root]:
    """Yield what is worked on, and the inputs of calls that another process described."""
    for key in worked_on(home):
        yield Root(key, "worked on now")
        description = home.root / "calls" / f"{key}.json"
        yield from (Root(one, "input of what is worked on now") for one in _keys_in(description))


def _keys_in(path: Path) -> set[str]:
    """Return all keys that a JSON file mentions; raises `CorruptError` for a damaged one."""
    try:
        return set(_KEY.findall(json_text(read_sealed(path))))
    except FileNotFoundError:
        return set()
