"""`sparring pin`, `unpin` and `gc` as a user types them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.flow_run import open_run
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.prefect_task import stage_task
from tasks.storage.home import Home
from tasks.storage.locks import FileLock
from tests.flows.command import Shell
from tests.tasks.stages.retention.housekeeping import Silent


@stage_task(version=1)
def train(*, seed: int, workspace: Any) -> dict[str, float]:
    """Leave a small model."""
    (workspace.output / "model.safetensors").write_bytes(bytes([seed]) * 100_000)
    return {"loss": float(seed)}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A home with five completed runs of one model each, made long ago."""
    monkeypatch.setattr("tasks.stages.flow_run.Recorder", Silent)
    shell = Shell(tmp_path)
    monkeypatch.setenv("SPARRING_HOME", str(shell.home.root))
    for seed in range(5):
        with open_run("apo", config={}, config_text="", home=shell.home):
            train(seed=seed)
    for path in shell.home.manifests.rglob("*.json"):
        os.utime(path, (1, 1))
    for path in shell.home.store.rglob("*"):
        os.utime(path, (1, 1))
    return shell


def whole(home: Home) -> list[int]:
    """Seeds of the models that are there."""
    found = [one for one in list_manifests(home) if not damaged_files(home, one, verify=True)]
    return sorted(one.seed or 0 for one in found)


def test_it_says_what_would_go_and_touches_nothing(shell: Shell) -> None:
    said = shell.json("gc", "--dry-run")
    assert said["dry_run"] and 200_000 < said["trash_bytes"] < 210_000
    assert [item["kind"] for item in said["items"]] == ["weights", "weights", "objects"]
    assert all(item["is_last_copy"] for item in said["items"][:2])
    assert whole(shell.home) == [0, 1, 2, 3, 4]
    assert "200.3 KB would go to the trash" in shell("gc", "--dry-run").stdout


def test_last_copies_go_only_when_told(shell: Shell) -> None:
    refused = shell.refusal("gc")
    assert "2 results (200.3 KB) would be gone for good" in refused and "--yes" in refused
    assert whole(shell.home) == [0, 1, 2, 3, 4]
    assert "200.3 KB went to the trash" in shell("gc", "--yes").stdout
    assert whole(shell.home) == [2, 3, 4]
    assert len(list_manifests(shell.home)) == 5
    assert shell.json("gc", "--yes")["items"] == []
    assert "freed 200" in shell("gc", "--trash-days", "0").stdout


def test_with_a_remote_nothing_is_lost_and_nobody_is_asked(shell: Shell, tmp_path: Path) -> None:
    place = {"SPARRING_REMOTE": str(tmp_path / "remote")}
    held = shell("gc", "--keep-runs", "0", **place).stdout
    assert "it is not on the remote yet: sparring push" in held
    assert whole(shell.home) == [0, 1, 2, 3, 4]
    first = next(one for one in list_manifests(shell.home) if one.seed == 0)
    shell("push", first.key[:16], **place)
    shell("gc", "--keep-runs", "0", **place)
    assert whole(shell.home) == [1, 2, 3, 4]
    shell("pull", first.key[:16], **place)
    assert whole(shell.home) == [0, 1, 2, 3, 4]


def test_on_the_remote_it_drops_only_when_asked(shell: Shell, tmp_path: Path) -> None:
    place = {"SPARRING_REMOTE": str(tmp_path / "remote")}
    for one in list_manifests(shell.home):
        shell("push", one.key[:16], **place)
    for path in (tmp_path / "remote").rglob("*"):
        os.utime(path, (1, 1))
    shell("gc", **place)
    manifests = tmp_path / "remote/manifests/train"
    assert len(list(manifests.iterdir())) == 5
    assert "gone for good" in shell.refusal("gc", "--remote", **place)
    shell("gc", "--remote", "--yes", **place)
    assert len(list(manifests.iterdir())) == 3 and whole(shell.home) == [2, 3, 4]


def test_what_is_pinned_stays_until_it_is_let_go(shell: Shell) -> None:
    oldest = next(one for one in list_manifests(shell.home) if one.seed == 0)
    assert f"pinned train/{oldest.key[:16]}" in shell("pin", oldest.key[:12]).stdout
    shell("gc", "--yes")
    assert whole(shell.home) == [0, 2, 3, 4]
    assert "pinned: train/" in shell.refusal("unpin", "nothing")
    shell("unpin", oldest.key[:12])
    shell("gc", "--yes")
    assert whole(shell.home) == [2, 3, 4]
    assert "key, digest or run id 'no-such-thing'" in shell.refusal("pin", "no-such-thing")


def test_weights_have_a_retention_of_their_own(shell: Shell) -> None:
    shell("gc", "--yes", "--keep-runs", "4", "--keep-weights", "1")
    assert whole(shell.home) == [4]


def test_one_gc_at_a_time(shell: Shell) -> None:
    with FileLock(shell.home.root / "gc.lock"):
        assert "another gc is at work" in shell.refusal("gc", "--yes", code=1)


def test_nothing_here_is_nothing_to_do(tmp_path: Path) -> None:
    empty = Shell(tmp_path)
    assert "would free 0 bytes" in empty("gc", "--dry-run").stdout
    assert not empty.home.root.exists()
    assert "SPARRING_REMOTE" in empty.refusal("gc", "--remote")


def test_the_way_to_unpin_a_run_names_that_run_alone(shell: Shell) -> None:
    for run in (one["run"] for one in shell.json("ls")[:2]):
        words = shell("pin", run).stdout.split("`")[1].split()
        assert words == ["sparring", "unpin", run], "runs of one hour begin alike"
