"""Housekeeping of the remote: only what this home made, and never under somebody's hands."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import StageError
from tasks.stages.artifact import committed_artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.leases.remote_lease import acquire_everywhere
from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.plan import planning
from tasks.stages.remote.known_copies import RemoteCopies
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.retention import remote_sweep
from tasks.stages.retention.pins import pin
from tasks.stages.retention.remote_sweep import sweep_remote
from tasks.stages.retention.roots import Policy
from tasks.stages.retention.sweep import Sweep
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote
from tests.tasks.stages.retention.housekeeping import NOW


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    found = open_remote()
    assert found is not None
    return found


def run_flow(toy: Any, home: Home, text: str) -> list[Manifest]:
    toy.source.write_text(text)
    with open_run("toy", config={}, config_text="", home=home) as run:
        toy.flow()
    return [one for one in list_manifests(home) if one.provenance["run"] == run.run_id]


def age(tmp_path: Path, days: float = 2.0) -> None:
    """Make everything on the remote older."""
    then = time.time() - days * 86400
    for path in (tmp_path / "remote").rglob("*"):
        os.utime(path, (then, then))


def sweep(home: Home, remote: Remote, policy: Policy = NOW, *, dry_run: bool = False) -> Sweep:
    return sweep_remote(home, remote, policy, dry_run=dry_run)


def on_remote(remote: Remote, manifests: list[Manifest]) -> set[str]:
    copies = RemoteCopies(remote)
    return {one.key for one in manifests if copies.holds(one)}


def test_old_outputs_of_ours_go_with_their_objects(
    toy: Any, home: Home, remote: Remote, tmp_path: Path
) -> None:
    old, new = run_flow(toy, home, "old"), run_flow(toy, home, "new")
    age(tmp_path)
    before = remote.names("")
    assert sweep(home, remote, replace(NOW, keep_runs=1), dry_run=True).items
    assert remote.names("") == before
    done = sweep(home, remote, replace(NOW, keep_runs=1))
    assert on_remote(remote, old) == set() and len(on_remote(remote, new)) == 3
    assert {item.kind for item in done.items} == {"artifact", "objects"}
    assert len(remote.names("dropped/")) == 3
    left = {name.replace("/", "")[-36:] for name in remote.names("store/files/md5/")}
    needed = {file.md5 for one in new for file in one.files} | {one.digest for one in new}
    assert {name[-36:] if name.endswith(".dir") else name[-32:] for name in left} <= needed


def test_another_machine_makes_again_what_went(
    toy: Any, home: Home, remote: Remote, tmp_path: Path
) -> None:
    made = run_flow(toy, home, "old")
    age(tmp_path)
    sweep(home, remote)
    elsewhere = Home(tmp_path / "elsewhere").ensure()
    with planning(elsewhere) as plan:
        toy.flow()
    assert plan.planned[0].state == "to run"
    with open_run("toy", config={}, config_text="", home=elsewhere):
        toy.flow()
    assert {one.key for one in list_manifests(elsewhere)} == {one.key for one in made}


def test_what_is_younger_than_a_day_stays(toy: Any, home: Home, remote: Remote) -> None:
    made = run_flow(toy, home, "old")
    done = sweep(home, remote)
    assert not done.items and len(done.held) == 3 and len(on_remote(remote, made)) == 3


def test_what_other_machines_made_or_need_stays(
    toy: Any, home: Home, remote: Remote, tmp_path: Path
) -> None:
    run_flow(toy, home, "shared")
    elsewhere = Home(tmp_path / "elsewhere").ensure()
    with open_run("toy", config={}, config_text="", home=elsewhere):
        toy.flow()  # all of it is done: it leaves no manifest of its own
        source = external_artifact(toy.source)
        shard = toy.shard(source, config=toy.config(shards=2), seed=1)
        extra = toy.join([shard], label="theirs")
    age(tmp_path)
    sweep(home, remote)
    copies = RemoteCopies(remote)
    theirs = [one for one in list_manifests(elsewhere) if one.key == extra.key]
    assert copies.holds(theirs[0])
    # What it was made from was ours, and is needed.
    assert shard.key in {one.key for one in list_manifests(home) if copies.holds(one)}
    fetch_artifact(committed_artifact(elsewhere, theirs[0]), Home(tmp_path / "third").ensure())


def test_nothing_goes_while_somebody_works_with_the_remote(
    toy: Any, home: Home, remote: Remote, tmp_path: Path
) -> None:
    run_flow(toy, home, "old")
    age(tmp_path)
    elsewhere = Home(tmp_path / "elsewhere").ensure()
    lease: Any = acquire_everywhere(elsewhere, remote, "f" * 64, is_done=lambda: None, say=print)
    try:
        with pytest.raises(StageError, match="somebody works on ffff"):
            sweep(home, remote)
    finally:
        lease.release()
    assert sweep(home, remote).items


def test_a_pin_set_on_another_machine_holds(
    toy: Any, home: Home, remote: Remote, tmp_path: Path
) -> None:
    made = run_flow(toy, home, "old")
    last = next(one for one in made if one.stage == "join")
    pin(Home(tmp_path / "elsewhere"), "artifact", last.key, stage="join", note="")
    age(tmp_path)
    assert not sweep(home, remote).items
    assert len(on_remote(remote, made)) == 3


def test_unfinished_work_goes_after_its_days(home: Home, remote: Remote, tmp_path: Path) -> None:
    remote.put(f"work/{'a' * 64}/step-1/000001/optimiser.pt", b"x")
    remote.put(f"work/{'a' * 64}/step-1.json", b"{}")
    age(tmp_path)
    assert not sweep(home, remote).items
    (item,) = sweep(home, remote, replace(NOW, days=1.0)).items
    assert item.kind == "work" and not remote.names("work/")


def test_a_kill_between_manifest_and_objects_is_finished_next_time(
    toy: Any, home: Home, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_flow(toy, home, "old")
    age(tmp_path)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(remote_sweep, "_drop_objects", die)
        with pytest.raises(KeyboardInterrupt):
            sweep(home, remote)
    assert not remote.names("manifests/") and remote.names("store/files/md5/")
    sweep(home, remote)
    assert not remote.names("store/files/md5/") and not on_remote(remote, made)
