"""Housekeeping while others work, after kills, and over damage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.flow_run import open_run
from tasks.stages.leases.lease import acquire_lease
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.retention.candidates import find_candidates
from tasks.stages.retention.dropped import dropped_mark
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.tracking.store.cache_index import cached_objects
from tests.tasks.stages.retention.housekeeping import (
    NOW,
    check_consistent,
    made_by,
    run_flow,
    sweep,
    whole,
)


def test_what_was_used_a_moment_ago_stays(home: Home, two_runs: tuple[str, str]) -> None:
    held = sweep(home, replace(NOW, grace_seconds=600.0)).held
    assert {one.why for one in held} == {"it was made or used a moment ago"}
    assert len(whole(home)) == 6


def test_a_stage_that_finds_an_output_at_the_same_time_gets_it_back(
    home: Home, two_runs: tuple[str, str]
) -> None:
    """The mark of use that comes after the last look brings the files back."""
    policy = replace(NOW, grace_seconds=60.0)
    for path in home.manifests.rglob("*.json"):
        os.utime(path, (1, 1))
    candidates, _ = find_candidates(home, None, policy)
    (one,) = [item for item in candidates if item.name.startswith("join")][:1]
    manifest = next(m for m in list_manifests(home) if m.key.startswith(one.name[5:]))
    path = home.manifests / "join" / f"{manifest.key}.json"

    from tasks.stages.retention import candidates as module

    real = module.remove_unless

    def meanwhile(folder: Path, is_wanted: Callable[[], bool]) -> bool:
        def looked() -> bool:
            assert not folder.exists()
            os.utime(path)
            return is_wanted()

        return real(folder, looked)

    module.remove_unless = meanwhile
    try:
        assert one.remove() == "it was made or used a moment ago"
    finally:
        module.remove_unless = real
    assert manifest.key in whole(home) and dropped_mark(home, manifest) is None


def test_a_key_that_is_worked_on_is_left_alone(home: Home, two_runs: tuple[str, str]) -> None:
    last = next(one for one in list_manifests(home) if one.stage == "join")
    lease: Any = acquire_lease(home.leases, last.key, is_done=lambda: None, say=print)
    work = home.work / last.key
    work.mkdir()
    try:
        sweep(home, replace(NOW, days=0.0))
        # With everything that it is made from.
        assert whole(home) == made_by(home, last.provenance["run"]) and work.exists()
    finally:
        lease.release()
    sweep(home, replace(NOW, days=0.0))
    assert whole(home) == set() and not work.exists()


def test_a_stage_that_runs_meanwhile_loses_nothing(
    toy: Any, home: Home, child: Any, tmp_path: Path
) -> None:
    """Collect again and again, as greedily as can be, while a flow runs."""
    run_flow(toy, home, tmp_path, "old")

    def flow() -> str:
        with open_run("toy", config={}, config_text="", home=home, mlruns=tmp_path / "m"):
            toy.source.write_text("new")
            digest = toy.flow().digest
        return digest

    running = child(flow, TOY_SECONDS="0.2")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and os.waitid(
        os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ) is None:  # fmt: skip
        sweep(home, replace(NOW, days=0.0))
    code, answer = running.wait()
    assert (code, answer) == (0, toy.flow().digest)
    assert answer in {one.digest for one in list_manifests(home)}
    check_consistent(home)


@pytest.mark.parametrize("start", range(1, 5))
def test_a_kill_at_every_durable_operation_leaves_a_store_that_the_next_time_finishes(
    home: Home, two_runs: tuple[str, str], child: Any, start: int
) -> None:
    policy = replace(NOW, keep_runs=1)
    kept = made_by(home, two_runs[1])
    for number in range(start, 200, 4):
        code, _ = child(lambda: sweep(home, policy), SPARRING_FAULT=f"kill@{number}").wait()
        assert kept <= whole(home)
        for one in list_manifests(home):
            folder = one.folder(home)
            assert not folder.exists() or not damaged_files(home, one, verify=True)
        if code == 0:
            break
    assert code == 0 and number > 4
    sweep(home, policy)
    assert whole(home) == kept
    check_consistent(home)


def test_what_killed_processes_left_goes(home: Home, two_runs: tuple[str, str]) -> None:
    orphan = home.store / "shard" / "0123456789abcdef"
    orphan.mkdir()
    (orphan / "text").write_text("half")
    trash = home.store / "shard" / ".trash-1-ab"
    trash.mkdir()
    os.utime(trash, (1, 1))
    kinds = {item.kind for item in sweep(home, replace(NOW, keep_runs=2)).items}
    assert kinds == {"orphan", "leftover"}
    assert not orphan.exists() and not trash.exists() and len(whole(home)) == 6
    check_consistent(home)


def test_an_output_with_a_damaged_manifest_is_no_orphan(
    home: Home, two_runs: tuple[str, str]
) -> None:
    path = next((home.manifests / "join").glob("*.json"))
    path.write_text("{")
    with pytest.raises(CorruptError, match="run its flow again"):
        sweep(home, replace(NOW, keep_runs=2))
    assert (home.store / "join" / path.stem[:16]).is_dir()


def test_an_unreadable_pointer_saves_the_cache(home: Home, two_runs: tuple[str, str]) -> None:
    kept = next(one for one in list_manifests(home) if one.key in made_by(home, two_runs[1]))
    pointer = kept.folder(home).with_name(kept.key[:16] + ".dvc")
    pointer.write_text("outs: nonsense")
    before = set(cached_objects(home.store))
    held = sweep(home, replace(NOW, keep_runs=1)).held
    assert [(one.name, "names no MD5" in one.why) for one in held] == [("DVC's cache", True)]
    assert set(cached_objects(home.store)) == before


def test_unfinished_work_is_kept_for_its_days(home: Home) -> None:
    parts = home.work / ("a" * 64) / "attempt-1" / "parts"
    parts.mkdir(parents=True)
    (parts / "optimiser.pt").write_bytes(b"x" * 1000)
    assert not sweep(home).items
    (item,) = sweep(home, replace(NOW, days=0.0)).items
    assert (item.kind, item.size) == ("work", 1000)
    assert item.why == "nobody went on with it for 0 days"
    assert not parts.exists()
