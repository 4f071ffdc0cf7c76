"""A git repository of `.dvc` files, taken by the real `dvc get` and `dvc import`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dulwich.repo import Repo
from typer.testing import CliRunner

import flows.cli.main  # noqa: F401  (registers the verbs)
from flows.cli.commands.app import app
from tasks.stages.manifest import Manifest
from tasks.stages.remote.transfer import push_artifact
from tasks.stages.runs.aliases import CHAMPION, AliasRecord, move_alias
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store.dvc_store import dvc_store
from tests.tasks.stages.export.small_store import SAMPLED, commit, groups


def sparring(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["export", *words, "--format", "dvc"])
    assert done.exit_code == code, done.output
    return done.output


def dvc(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, check=True, timeout=120)


def champion(number: int) -> Manifest:
    """Put samples into the store and its cache, and make them the champion of apo."""
    home = current_home()
    made = commit(home, number, "score_responses", groups(train=SAMPLED[:number]), label="RM")
    with dvc_store(home.store).writing():
        assert dvc_store(home.store).add(made.folder(home), made.files) == made.digest
    models = {"policy": f"{made.stage}/{made.key}"}
    move_alias(home, AliasRecord(0, "apo", CHAMPION, models, {}, "apo-1", "", "why"))
    return made


def rows(folder: Path) -> int:
    (file,) = folder.rglob("*.jsonl")
    return len(file.read_text().splitlines())


@pytest.fixture(autouse=True)
def own_home(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty home for each test, and no remote."""
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "own"))
    monkeypatch.delenv("SPARRING_REMOTE", raising=False)
    current_home().ensure()


def test_dvc_gets_imports_and_updates_a_champion_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(1)
    folder, theirs = tmp_path / "names", tmp_path / "theirs"
    monkeypatch.chdir(tmp_path)
    said = json.loads(sparring("apo/champion", "names", "--json"))
    path = "aliases/apo/champion/policy"
    assert said == {"folder": "names", "paths": [path], "committed": True}
    theirs.mkdir()
    Repo.init(str(theirs)).close()
    dvc(theirs, "init", "--quiet")
    dvc(theirs, "import", str(folder), path, "-o", "policy")
    assert rows(theirs / "policy") == 1
    # The same again is no commit; a new champion is one, and theirs can follow.
    assert "were there already" in sparring("apo/champion", str(folder))
    champion(2)
    assert "are committed" in sparring("apo/champion", str(folder))
    dvc(theirs, "update", "policy.dvc")
    assert rows(theirs / "policy") == 2
    dvc(tmp_path, "get", str(folder), path, "-o", "got")
    assert rows(tmp_path / "got") == 2
    with Repo(str(folder)) as repo:
        assert len(list(repo.get_walker())) == 2


def test_with_a_remote_the_bytes_come_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = champion(3)
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    folder = tmp_path / "names"
    assert "is not on" in sparring(made.key[:12], str(folder), code=2) and not folder.exists()
    remote = open_remote()
    assert remote is not None
    push_artifact(current_home(), remote, made)
    said = sparring(made.key[:12], str(folder))
    assert "1 outputs are committed" in said and "score_responses/RM" in said
    assert f"{tmp_path}/remote/store" in (folder / ".dvc/config").read_text()


def test_what_would_not_be_found_or_is_not_ours_is_refused(tmp_path: Path) -> None:
    lost = commit(current_home(), 4, "score_responses", groups(train=SAMPLED))
    folder = tmp_path / "names"
    said = sparring(lost.key[:12], str(folder), code=2)
    assert "is not whole in DVC's cache here" in said and not folder.exists()
    made = champion(1)
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert "is there already" in sparring(made.key[:12], str(folder), code=2)
    assert "leave --messages" in sparring(made.key[:12], str(tmp_path / "n"), "--messages", code=2)
