"""A champion leaves one store and enters another by two verbs, and scheduled runs start from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flows.cli.main  # noqa: F401  (registers the verbs)
from flows.cli.champions import flow_meant
from flows.cli.commands.app import app
from flows.registry import find_flow
from flows.schedule import resolution
from flows.steps.inputs import start_artifact
from tasks.settings.loading import load_config, validate
from tasks.stages.manifest import load_manifest
from tasks.stages.runs.aliases import CANDIDATE, CHAMPION, AliasRecord, current_alias, move_alias
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import current_home
from tests.tasks.stages.runs.test_aliases import committed

KEYS = {"policy": "a" * 64, "reward_model": "b" * 64}


def sparring(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_flow_is_that_of_the_only_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARRING_REMOTE", raising=False)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path))
    home = current_home().ensure()
    for flow in ("exo", "apo"):
        move_alias(home, AliasRecord(0, flow, CANDIDATE, {}, {}, f"{flow}-1", "", "it ended"))
        if flow == "exo":
            assert flow_meant(home, None, CANDIDATE) == "exo"
    assert flow_meant(home, "apo", CANDIDATE) == "apo"
    assert flow_meant(home, None, CANDIDATE, "exo-1") == "exo", "the run says it"
    done = CliRunner().invoke(app, ["promote"])
    assert done.exit_code == 2
    said = "sparring: apo and exo have a candidate each: say --flow apo or --flow exo"
    assert " ".join(done.output.split()) == said


def test_a_scheduled_run_starts_from_an_imported_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARRING_REMOTE", raising=False)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "old"))
    home = current_home().ensure()
    made = {role: committed(home, key, f"update_{role}") for role, key in KEYS.items()}
    models = {role: f"{one.stage}/{one.key}" for role, one in made.items()}
    digests = {role: one.digest for role, one in made.items()}
    move_alias(home, AliasRecord(0, "apo", CHAMPION, models, digests, "apo-1", "", "it won"))
    archive = str(tmp_path / "archive")
    said = " ".join(sparring("export-champion", archive).split())
    assert f"policy: update_policy/{KEYS['policy']}" in said

    monkeypatch.setattr("tasks.storage.home.LAYOUT", 3)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "new"))
    taken = json.loads(sparring("import-champion", archive, "--json"))
    there = current_home()
    record = current_alias(there, "apo", CHAMPION)
    assert record is not None and taken["models"] == record.models
    assert taken["reason"].startswith("imported from a store of layout 2")
    (row,) = json.loads(sparring("ls", "aliases", "--json"))
    assert row["why"] == taken["reason"] and row["policy"] == record.models["policy"]

    monkeypatch.setattr(resolution, "input_digests", lambda config: {})
    values = load_config(Path("flows/configs/apo-tiny.yaml"))
    schedule = {"cron": "0 3 * * *", "policy": "champion", "reward_model": "champion"}
    config = validate(find_flow("apo").config_class(), {**values, "schedule": schedule}, "here")
    found = resolution.resolve(there, "apo", config, None)
    assert found.used == record.models
    for role, reference in record.models.items():
        with entered(RunContext(there)):
            start = start_artifact(reference, role)
        assert start.digest == digests[role]
        manifest = load_manifest(there, start.stage, start.key)
        assert manifest and manifest.provenance["imported"]["key"] == KEYS[role]
