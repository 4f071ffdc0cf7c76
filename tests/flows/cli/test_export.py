"""`sparring export` by the names that other verbs take, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flows.cli.main  # noqa: F401  (registers the verbs)
from flows.cli.commands.app import app
from tasks.stages.manifest import Manifest
from tasks.stages.runs.aliases import CHAMPION, AliasRecord, move_alias
from tasks.stages.runs.run_store import claim_run
from tasks.storage.home import Home, current_home
from tests.tasks.stages.export.small_store import SAMPLED, commit, groups


def sparring(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["export", *words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def scored(home: Home, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A store with scored samples, whose label would steer a terminal."""
    monkeypatch.delenv("SPARRING_REMOTE", raising=False)
    label = "RM\x1b[31m"
    return commit(current_home(), 1, "score_responses", groups(train=SAMPLED), label=label)


def test_it_says_what_is_where(scored: Manifest, tmp_path: Path) -> None:
    said = sparring(scored.digest[:8], str(tmp_path / "out"))
    assert "(scored samples) is in" in said and "scored/train: 3" in said
    assert "licence: not stated" in said and "\x1b" not in said
    assert "\x1b" not in (tmp_path / "out/README.md").read_text()
    assert "is there already" in sparring(scored.key[:8], str(tmp_path / "out"), code=2)


def test_an_alias_names_a_model(scored: Manifest, tmp_path: Path) -> None:
    """An alias may name anything; here samples, which need no model to be made."""
    models = {"policy": f"{scored.stage}/{scored.key}"}
    digests = {"policy": scored.digest}
    record = AliasRecord(0, "apo", CHAMPION, models, digests, "apo-1", "", "why")
    move_alias(current_home(), record)
    words = ("apo/champion", str(tmp_path / "out"), "--format", "hf", "--license", "mit", "--json")
    done = json.loads(sparring(*words))
    assert done["artifact"] == models["policy"]
    assert done["contents"] == {"rows": {"groups/train": 3}, "conversational": True}


def test_a_run_is_no_single_thing(scored: Manifest, tmp_path: Path) -> None:
    claim_run(current_home(), "apo", None, "apo.yaml", "")
    said = sparring("latest", str(tmp_path / "out"), code=2)
    assert "/NAME. Models: none" in said
    assert "nothing here has the key" in sparring("feedfeed", str(tmp_path / "out"), code=2)
    assert not (tmp_path / "out").exists()
