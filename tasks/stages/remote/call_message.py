"""A stage call as a small description from which another process, or machine, rebuilds it.

Artifacts are in it by reference, the config as plain values, nothing is pickled. Description and
outcome are the objects `calls/KEY.json` and `calls/KEY.outcome.json` on the remote; without one, in
the home that both processes share.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from tasks.settings.errors import ConfigError
from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.call import StageCall, StageSpec
from tasks.stages.remote.layout import read_object
from tasks.stages.remote.user_files import artifact_from_json
from tasks.storage.digests import code_digest
from tasks.storage.errors import CorruptError
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.plain import json_text
from tasks.storage.sealed import SEAL, read_sealed, sealed_json
from tasks.tracking.remote.base import Remote

_LAYOUT = 1
"""Of the description."""
_LONGEST_MESSAGE = 4000


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call that somebody else made ended."""

    flow_run: str
    """Prefect's id of the flow run that made it; an outcome of another one is an old one."""
    state: str
    """How it ended, in the words of `StageRecord.state`."""
    attempt: int = 0
    """Number of the attempt at the key; 0 when it was done before."""
    digest: str = ""
    """DVC's md5 of the output."""
    error: str = ""
    """Class of the error."""
    message: str = ""
    """The error's message."""


def describe_call(call: StageCall, run: str) -> dict[str, Any]:
    """Return a call, all inputs of which are finished, as plain values; `run` is our id of its run.

    Raises:
        TypeError: For an argument that would not come back as it was.
    """
    hints = typing.get_type_hints(call.spec.body)
    description: dict[str, Any] = {
        "layout": _LAYOUT,
        "sparring": version("sparring"),
        "code": code_digest(),
        "stage": call.spec.name,
        "version": call.spec.version,
        "resources": call.spec.resources,
        "label": call.label,
        "key": call.key,
        "run": run,
        "arguments": {
            name: _packed(value) if name in call.spec.input_names else _plain(value)
            for name, value in call.arguments.items()
        },
    }
    for name in call.arguments.keys() - call.spec.input_names:
        _restored(call.spec, name, description["arguments"][name], hints)
    return description


def rebuild_call(description: Mapping[str, Any], spec: StageSpec, home: Home) -> StageCall:
    """Return the call that was described, with the paths that its inputs have in this home.

    Raises:
        ConfigError: When this process would not do the same: another Sparring.
        CorruptError: When the description is damaged.
    """
    _check_versions(description, spec)
    hints = typing.get_type_hints(spec.body)
    try:
        arguments = {
            name: _unpacked(value, home)
            if name in spec.input_names
            else _restored(spec, name, value, hints)
            for name, value in description["arguments"].items()
        }
        call = spec.bind((), arguments, description["label"])
        same = call.key == description["key"]
    except (KeyError, TypeError) as error:
        raise CorruptError(
            f"the description of a call of {spec.name} is damaged: {error}"
        ) from error
    if not same:
        raise CorruptError(
            f"the description of {call.title} says key {description['key'][:16]}, its content "
            f"{call.key[:16]}: it is damaged, or was made by another Sparring; run the flow again"
        )
    return call


def write_call(home: Home, remote: Remote | None, description: Mapping[str, Any]) -> None:
    """Put a description where the other process finds it."""
    _write(home, remote, _name(description["key"]), description)


def read_call(home: Home, remote: Remote | None, key: str) -> dict[str, Any]:
    """Return the description of a call.

    Raises:
        ConfigError: When there is none: this process does not share the flow's remote or home.
        CorruptError: When it is damaged.
    """
    description = _read(home, remote, _name(key))
    if description is None:
        where = f"the remote {remote.url}" if remote else f"SPARRING_HOME={home.root}"
        raise ConfigError(
            f"{where} holds no call {key[:16]}: this worker and the flow do not share it; set "
            "SPARRING_REMOTE for the flow to a place that every worker reaches"
        )
    return description


def write_outcome(home: Home, remote: Remote | None, key: str, outcome: CallOutcome) -> None:
    """Write how a call ended where the flow's process finds it."""
    short = replace(outcome, message=outcome.message[:_LONGEST_MESSAGE])
    _write(home, remote, _name(key, ".outcome"), asdict(short))


def read_outcome(home: Home, remote: Remote | None, key: str, flow_run: str) -> CallOutcome | None:
    """Return how a call of this Prefect flow run ended; None while it has not said."""
    try:
        values = _read(home, remote, _name(key, ".outcome"))
        outcome = CallOutcome(**values) if values else None
    except (CorruptError, TypeError):
        return None
    return outcome if outcome and outcome.flow_run == flow_run else None


def _packed(value: Any) -> Any:
    """Return an argument that holds artifacts as plain values; a dict keeps its order."""
    if value is None:
        return None
    if isinstance(value, Artifact):
        return {**value.to_json(), **_whereabouts(value)}
    if isinstance(value, Mapping):
        return {"names": list(value), "items": [_packed(item) for item in value.values()]}
    return [_packed(item) for item in value]


def _whereabouts(artifact: Artifact) -> dict[str, str]:
    """Return the path and name of a user's file: a reader may see the disk, and goes by suffix."""
    if artifact.stage != EXTERNAL:
        return {}
    return {"path": str(artifact.path), "name": artifact.root.name}


def _unpacked(value: Any, home: Home) -> Any:
    """Return what `_packed` was given, with paths in this home."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_unpacked(item, home) for item in value]
    if "names" in value:
        items = [_unpacked(item, home) for item in value["items"]]
        return dict(zip(value["names"], items, strict=True))
    return artifact_from_json(value, home)


def _plain(value: Any) -> Any:
    """Return an argument that holds no artifact as plain values."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _restored(spec: StageSpec, name: str, plain: Any, hints: Mapping[str, Any]) -> Any:
    """Return the value that a parameter's annotation makes of plain values."""
    try:
        # As JSON, not as Python values: what comes back is what comes from the other machine.
        value = TypeAdapter(hints[name]).validate_json(json.dumps(plain, allow_nan=False))
        same = json_text(_plain(value)) == json_text(plain)
    except (ValidationError, ValueError) as error:
        raise TypeError(
            f"stage {spec.name}: {name} does not come back from JSON: {error}"
        ) from error
    if not same:
        raise TypeError(f"stage {spec.name}: {name} comes back from JSON as {value!r}")
    return value


def _check_versions(description: Mapping[str, Any], spec: StageSpec) -> None:
    """Refuse a call of other code, which this process would silently answer otherwise."""
    theirs = (description.get("layout"), description.get("code"), description.get("version"))
    if theirs != (_LAYOUT, code_digest(), spec.version):
        flow = f"{description.get('sparring')} (code {str(theirs[1])[:12]})"
        here = f"{version('sparring')} (code {code_digest()[:12]})"
        raise ConfigError(
            f"the flow runs Sparring {flow} with {spec.name} version {theirs[2]}, this worker "
            f"Sparring {here} with version {spec.version}: install the same Sparring on both"
        )


def _name(key: str, suffix: str = "") -> str:
    """Return the name of a call's object."""
    return f"calls/{key}{suffix}.json"


def _write(home: Home, remote: Remote | None, name: str, values: Mapping[str, Any]) -> None:
    """Write an object; the order of keys is kept, as a body may go through a dict in order."""
    data = sealed_json(values, in_order=True).encode()
    write_atomic(home.root / name, data)
    if remote is not None:
        remote.put(name, data)


def _read(home: Home, remote: Remote | None, name: str) -> Any:
    """Return an object of the remote, or of the shared home; None when there is none."""
    if remote is None:
        try:
            return read_sealed(home.root / name)
        except FileNotFoundError:
            return None
    found = read_object(remote, name)
    return found and {field: value for field, value in found.items() if field != SEAL}
