"""`sparring ls operations`: whoever does something to the store is written down with it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import flows.cli.main  # noqa: F401  (registers the verbs)
from flows.cli import deploy
from flows.cli.commands.app import app
from tasks.stages.manifest import Manifest, artifact_folder, commit_manifest
from tasks.stages.runs.aliases import AliasRecord, move_alias
from tasks.storage.digests import digest_tree, directory_md5
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home


def sparring(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def operations() -> list[dict[str, str]]:
    found = json.loads(sparring("ls", "operations", "--json"))
    assert all("@" in one["who"] and one["time"][:2] == "20" for one in found)
    return list(found)


def old_model(home: Home) -> Manifest:
    """A model that nothing needs, made long ago."""
    key = "ab" * 32
    folder = artifact_folder(home, "update_policy", key)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    files = tuple(digest_tree(folder))
    made = Manifest(key, "update_policy", 1, {}, 0, {}, directory_md5(files), files, {}, "", {}, {})
    commit_manifest(home, made)
    for path in (*home.manifests.rglob("*.json"), *home.store.rglob("*")):
        os.utime(path, (1, 1))
    return made


def test_pins_aliases_and_gc_say_who(home: Home) -> None:
    made = old_model(home)
    reference = {"policy": f"update_policy/{made.key}"}
    record = AliasRecord(
        0, "apo", "candidate", reference, {"policy": made.digest}, "apo-1", "", "ended well"
    )
    sparring("pin", made.key[:16], "--note", "the paper's")
    assert operations()[0] | {"time": "", "who": ""} == {
        "verb": "pin",
        "what": f"artifact {made.key[:24]}: the paper's",
        "time": "",
        "who": "",
    }
    sparring("unpin", made.key[:16])
    assert [one["verb"] for one in operations()] == ["unpin"], "a pin that is gone is told by that"
    sparring("gc", "--dry-run")
    assert len(operations()) == 1, "to look is nothing that is done"
    sparring("gc", "--yes")
    gone = next(one for one in operations() if one["verb"] == "gc")
    assert gone["what"].startswith("1 item, 1")
    move_alias(home, record)
    move_alias(home, replace(record, run="apo-2"))
    moves = [one["what"] for one in operations() if one["verb"] == "candidate"]
    assert sorted(moves) == [f"apo/candidate is apo-{n}: ended well" for n in (1, 2)]
    assert "unpin: " in sparring("ls", "operations")


def test_a_deployment_is_written_down_when_it_is_registered(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = SimpleNamespace(
        deployment="apo/nightly", url="", pool="gpus", pool_type="docker", cron="0 3 * * *",
        timezone="UTC", paused=True, next=[], created=True,
    )  # fmt: skip
    fake: Any = SimpleNamespace(
        DeploymentOptions=lambda *_: None, deploy_flow=lambda *_: registered
    )
    monkeypatch.setattr(deploy, "_use_lasting_server", lambda: "http://127.0.0.1:9/api")
    monkeypatch.setattr(deploy, "_wanted", lambda *_: [(None, None)])
    monkeypatch.setitem(sys.modules, "flows.schedule.deployments", fake)
    assert "apo/nightly registered: 0 3 * * * (UTC), paused" in sparring("deploy", "apo")
    (done,) = operations()
    assert (done["verb"], done["what"]) == (
        "deploy",
        "apo/nightly on pool gpus: 0 3 * * * (UTC), paused",
    )


def test_a_damaged_record_is_named(home: Home, tmp_path: Path) -> None:
    (home.root / "operations").mkdir()
    (home.root / "operations/1.json").write_text("{")
    assert "operations/1.json" in sparring("ls", "operations", code=CorruptError.exit_code)
