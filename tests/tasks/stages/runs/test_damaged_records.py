"""Every small record of ours: whatever is flipped or cut, it is read as written, or named."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.leases.lease import acquire_lease
from tasks.stages.manifest import InputRecord, Manifest, commit_manifest, load_manifest
from tasks.stages.remote.layout import read_object, write_object
from tasks.stages.retention.dropped import dropped_mark, mark_dropped
from tasks.stages.retention.pins import list_pins, pin
from tasks.stages.runs.aliases import AliasRecord, alias_history, list_aliases, move_alias
from tasks.stages.runs.run_inputs import input_changes, save_inputs
from tasks.stages.runs.run_store import claim_run, config_file, load_run, save_status
from tasks.storage.digests import FileDigest
from tasks.storage.errors import CorruptError
from tasks.storage.fencing import read_lease
from tasks.storage.home import Home
from tasks.storage.sealed import read_either, read_sealed_text, write_twice
from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.remote.folder import FolderRemote

KEY = "a" * 64


def manifest_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    file = FileDigest("model.safetensors", 8, "0" * 32, "1" * 64)
    made = Manifest(KEY, "s", 1, {}, 0, {"i": InputRecord("d", "s", KEY)}, "d", (file,), {"x": 1.5})
    commit_manifest(home, made)
    return home.manifests / "s" / f"{KEY}.json", lambda: load_manifest(home, "s", KEY)


def run_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    run = claim_run(home, "toy", None, "toy.yaml", "seed: 1\n")
    save_status(home, run.id, "completed")
    return home.runs / run.id / "run.json", lambda: _named(home, run.id)


def _named(home: Home, run: str) -> Any:
    """A damaged run is no run any more, and said to be damaged; see test_sweep_damage."""
    try:
        return load_run(home, run)
    except ConfigError as error:
        raise CorruptError("is damaged") from error


def config_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    run = claim_run(home, "toy", None, "toy.yaml", "seed: 1\nstart: {policy: s/abc}\n").id
    path = home.runs / run / "config.yaml"
    return path, lambda: read_sealed_text(config_file(home, run))


def alias_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    models = {"policy": f"s/{KEY}"}
    move_alias(home, AliasRecord(0, "toy", "champion", models, {}, "toy-1", "", "a test"))
    path = home.root / "aliases/toy/champion/000001.json"
    return path, lambda: (alias_history(home, "toy", "champion"), list_aliases(home))


def pin_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    pin(home, "artifact", KEY, stage="s", note="the paper")
    return home.root / f"pins/{KEY}.json", lambda: list_pins(home)


def servers_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    write_twice(home.servers, {"prefect": {"pid": 7, "port": 4200, "url": "http://127.0.0.1:4200"}})
    return home.servers, lambda: read_either(home.servers)


def lease_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    lease = acquire_lease(home.leases, KEY, is_done=lambda: None, say=print)
    assert lease is not None
    lease._stop.set()

    def held() -> Any:
        record = read_lease(lease.path)
        if "damaged" in record and record["token"] == 1:
            raise CorruptError("is damaged")
        return record

    return lease.path, held


def object_of(home: Home) -> tuple[Path, Callable[[], Any]]:
    remote = FolderRemote(home.root)
    write_object(remote, "external/d.json", {"files": [{"path": "", "size": 3}]})
    return home.root / "external/d.json", lambda: read_object(remote, "external/d.json")


KINDS = [manifest_of, run_of, config_of, alias_of, pin_of, servers_of, lease_of, object_of]


def damages(data: bytes, dice: random.Random) -> list[bytes]:
    """Flips of one bit, cuts, and holes, at random."""
    found = [data[: len(data) // 2], b""]
    for _ in range(60):
        start = dice.randrange(len(data))
        flipped = data[start] ^ 1 << dice.randrange(8)
        end = start + dice.randrange(1, 32)
        found.append(data[:start] + bytes([flipped]) + data[start + 1 :])
        found.append(dice.choice([data[:start], data[:start] + bytes(end - start) + data[end:]]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_read_as_written_or_named(
    home: Home, kind: Callable[[Home], tuple[Path, Callable[[], Any]]]
) -> None:
    path, read = kind(home)
    whole, right = path.read_bytes(), read()
    noticed = 0
    for data in damages(whole, random.Random(kind.__name__)):
        path.write_bytes(data)
        try:
            found = read()
        except CorruptError as error:
            assert "is damaged" in str(error) or "is no" in str(error)
            noticed += 1
            continue
        # But for a letter of the seal's own name, what is read is what was written.
        assert _without_seal(found) == _without_seal(right), data
    assert noticed > 90 or kind is servers_of
    path.write_bytes(whole)
    assert read() == right


def _without_seal(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if key in ("token", "owner", "files")}
    return found


def test_marks_that_only_inform_are_as_if_they_were_not_there(home: Home) -> None:
    path, load = manifest_of(home)
    mark_dropped(home, load(), "old", is_remote=False)
    save_inputs(home, run := claim_run(home, "toy", None, "", "").id, {"/data/a": "1"})
    folder = home.spool / run
    Cursor(place="here").save(folder)
    for file in (
        home.root / "dropped" / f"{KEY}.json",
        home.runs / run / "inputs.json",
        folder / "cursor.json",
    ):
        file.write_bytes(file.read_bytes()[:-9])
    assert dropped_mark(home, load()) is None
    assert "cannot be known" in next(input_changes(home, run, {"/data/a": "1"}))
    assert Cursor.load(folder) == Cursor()
