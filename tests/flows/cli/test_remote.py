"""`sparring push`, `pull` and `doctor` with a remote, as two users on two machines type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tests.databases import Databases
from tests.flows.command import Shell


@stage_task(version=1)
def double(item: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Write the item twice."""
    text = (item.path if item.path.is_file() else item.path / "text").read_text()
    (workspace.output / "text").write_text(2 * text)
    return {"letters": 2.0 * len(text)}


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Shell:
    """A machine on which a run of two stages has ended, before there was a remote."""
    shell = Shell(tmp_path, "one")
    monkeypatch.setenv("SPARRING_HOME", str(shell.home.root))
    (tmp_path / "item.txt").write_text("hello ")
    databases.copy("mlflow", tmp_path / "mlruns")
    with open_run("toy", config={}, config_text="", mlruns=tmp_path / "mlruns") as run:
        double(double(external_artifact(tmp_path / "item.txt"), label="first"), label="second")
    assert run.remote is None
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "shared"))
    return shell


def test_a_run_travels(one: Shell) -> None:
    (run,) = one.json("ls", "runs")
    first = one.json("push", run["run"])
    assert (first["artifacts"], first["moved"], first["id"]) == (2, 2, run["run"])
    assert first["bytes"] == sum(found.size for found in list_manifests(one.home))
    again = one.json("push", run["run"][:8])
    assert (again["artifacts"], again["moved"], again["bytes"]) == (2, 0, 0)

    two = Shell(one.folder, "two")
    pulled = two.json("pull", run["run"])
    assert (pulled["moved"], pulled["bytes"]) == (2, first["bytes"])
    assert two.finished_keys() == one.finished_keys()
    assert all(not damaged_files(two.home, found) for found in list_manifests(two.home))
    assert two.json("pull", run["run"])["moved"] == 0
    assert two.json("status", run["run"])["run"]["status"] == "completed"
    assert "pulled 0 artifacts, 0 bytes; 2 were there" in two("pull", "latest").stdout


def test_an_artifact_travels_by_key_or_digest(one: Shell) -> None:
    second = next(found for found in list_manifests(one.home) if found.label == "second")
    one("push", second.digest[:10])
    for name in (second.key[:12], second.digest[:12]):
        other = Shell(one.folder, f"by-{name}")
        assert other.json("pull", name)["moved"] == 1
        assert set(other.finished_keys()) == {f"double/{second.key}"}


def test_what_cannot_be_moved(one: Shell) -> None:
    assert "key, digest or run id 'nothing'" in one.refusal("push", "nothing")
    assert "there is no run or artifact 'nothing'" in one.refusal("pull", "nothing")
    assert "set SPARRING_REMOTE" in one.refusal("push", "latest", SPARRING_REMOTE="")
    assert "'double'" not in one.refusal("pull", "abcd")


def test_doctor_looks_at_the_remote(one: Shell) -> None:
    found = {item["subject"]: item for item in one.json("doctor")}
    assert found["remote writable"]["ok"] and found["remote reachable"]["ok"]
    one("push", "latest")
    two = Shell(one.folder, "two")
    two.home.ensure()
    second = next(item for item in list_manifests(one.home) if item.label == "second")
    two("pull", second.key)
    (two.home.store / "double" / second.key[:16] / "text").unlink()
    found = {item["subject"]: item for item in two.json("doctor")}
    assert found["store"]["ok"] is False or "only" in found["store"]["detail"]
    (one.folder / "shared" / "version.json").write_text('{"layout": 99}')
    found = {item["subject"]: item for item in one.json("doctor")}
    assert "layout 99" in found["remote layout"]["detail"] and not found["remote layout"]["ok"]
