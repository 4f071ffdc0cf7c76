"""Housekeeping of a home: what goes, what stays, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.artifact import committed_artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.manifest import list_manifests
from tasks.stages.plan import planning
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.retention.dropped import dropped_mark
from tasks.stages.retention.pins import pin, unpin
from tasks.stages.runs.aliases import AliasRecord, move_alias
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tests.tasks.stages.retention.housekeeping import (
    NOW,
    check_consistent,
    made_by,
    run_flow,
    sweep,
    tree,
    whole,
)


def test_the_newest_runs_stay_whole_and_older_ones_go(
    home: Home, two_runs: tuple[str, str]
) -> None:
    old, new = two_runs
    done = sweep(home, replace(NOW, keep_runs=1))
    assert whole(home) == made_by(home, new) and len(made_by(home, old)) == 3
    assert {item.kind for item in done.items} == {"artifact", "objects"}
    assert all(item.is_last_copy for item in done.items if item.kind == "artifact")
    check_consistent(home)


def test_the_runs_of_each_project_are_counted_apart(
    toy: Any, home: Home, tmp_path: Path, two_runs: tuple[str, str]
) -> None:
    run_flow(toy, home, tmp_path, "search", "search.toy")
    one = replace(NOW, keep_runs=1)
    gone = sweep(home, one, dry_run=True).items
    assert gone, "the older one of the two without a project goes"
    run_flow(toy, home, tmp_path, "ads", "ads.toy")
    assert sweep(home, one, dry_run=True).items == gone, "another project's run pushes nobody out"


def test_everything_that_went_has_its_manifest_and_is_said_to_be_dropped(
    toy: Any, home: Home, two_runs: tuple[str, str]
) -> None:
    sweep(home, replace(NOW, keep_runs=1))
    dropped = [one for one in list_manifests(home) if one.key in made_by(home, two_runs[0])]
    assert len(dropped) == 3
    assert all("removed by gc" in str(dropped_mark(home, one)) for one in dropped)
    toy.source.write_text("hello")
    with planning(home) as plan:
        toy.flow()
    assert plan.planned[0].state == "to run"
    assert plan.planned[0].reason.startswith("its files were removed by gc on ")


def test_what_is_needed_again_is_made_again_and_stays(
    toy: Any, home: Home, two_runs: tuple[str, str], tmp_path: Path
) -> None:
    before = {one.key: one.digest for one in list_manifests(home)}
    sweep(home, replace(NOW, keep_runs=1))
    run_flow(toy, home, tmp_path, "hello")
    assert {one.key: one.digest for one in list_manifests(home)} == before
    assert whole(home) == before.keys()
    again = [one for one in list_manifests(home) if one.key in made_by(home, two_runs[0])]
    assert not [dropped_mark(home, one) for one in again if dropped_mark(home, one)]
    check_consistent(home)


def test_it_says_what_it_frees_to_the_byte(home: Home, two_runs: tuple[str, str]) -> None:
    def used() -> int:
        files = [path for path in home.store.rglob("*") if path.is_file()]
        inside = [(path, path.relative_to(home.store).parts) for path in files]
        content = [p for p, parts in inside if "tmp" not in parts and p.suffix != ".lock"]
        return sum({s.st_ino: s.st_size for s in (path.stat() for path in content)}.values())

    said = sweep(home, replace(NOW, keep_runs=1), dry_run=True).size
    before = used()
    done = sweep(home, replace(NOW, keep_runs=1))
    assert done.size == said == before - used() > 0


def test_a_dry_run_touches_nothing(home: Home, two_runs: tuple[str, str]) -> None:
    before = tree(home)
    assert sweep(home, dry_run=True).items
    assert tree(home) == before


def test_a_pin_keeps_an_output_with_all_it_was_made_from(
    home: Home, two_runs: tuple[str, str]
) -> None:
    last = next(one for one in list_manifests(home) if one.stage == "join")
    pin(home, "artifact", last.key, stage="join", note="the paper")
    sweep(home)
    assert whole(home) == made_by(home, last.provenance["run"])
    assert unpin(home, last.key) and not unpin(home, last.key)
    sweep(home)
    assert whole(home) == set()
    check_consistent(home)


def test_a_pinned_run_keeps_all_its_stages(home: Home, two_runs: tuple[str, str]) -> None:
    pin(home, "run", two_runs[0], stage="", note="")
    sweep(home)
    assert whole(home) == made_by(home, two_runs[0])


def test_a_damaged_pin_stops_everything(home: Home, two_runs: tuple[str, str]) -> None:
    (home.root / "pins").mkdir()
    (home.root / "pins" / "abc.json").write_text("{")
    with pytest.raises(CorruptError, match=r"pins/abc\.json .* is no pin"):
        sweep(home)
    assert len(whole(home)) == 6


def test_an_interrupted_run_keeps_its_outputs_until_its_days_are_over(
    toy: Any, home: Home, tmp_path: Path
) -> None:
    with (
        pytest.raises(RuntimeError),
        open_run("toy", config={}, config_text="", home=home, mlruns=tmp_path / "mlruns"),
    ):
        toy.flow()
        raise RuntimeError("stop")
    sweep(home)
    assert len(whole(home)) == 3
    sweep(home, replace(NOW, days=0.0))
    assert whole(home) == set()


def test_two_branches_one_retention_the_other_is_intact(
    toy: Any, home: Home, tmp_path: Path
) -> None:
    """`dvc gc -w` on one branch removed another's data; ours knows what both need."""
    run_flow(toy, home, tmp_path, "shared")
    source = external_artifact(toy.source)
    shared = toy.shard(source, config=toy.config(shards=2), seed=1)
    a = toy.join([shared], external_artifact(toy.source), label="A")
    b = toy.join([shared.part("00000")], label="B")
    pin(home, "artifact", b.key, stage="join", note="branch B")
    sweep(home)
    assert whole(home) == {b.key, shared.key} and a.key not in whole(home)
    check_consistent(home)


def test_what_is_not_on_the_remote_is_never_dropped(
    toy: Any, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_flow(toy, home, tmp_path, "before there was a remote")
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    second = run_flow(toy, home, tmp_path, "with a remote")
    done = sweep(home)
    assert whole(home) == made_by(home, first)
    assert not any(item.is_last_copy for item in done.items)
    assert all("is not on the remote yet: sparring push" in one.why for one in done.held)

    # What went comes back when it is needed, the same to the byte.
    artifact = next(one for one in list_manifests(home) if one.provenance["run"] == second)
    with planning(home) as plan:
        toy.flow()
    assert {one.state for one in plan.planned} == {"done"}

    fetch_artifact(committed_artifact(home, artifact), home)
    assert artifact.key in whole(home)


def test_a_remote_that_lost_an_object_holds_the_output_back(
    toy: Any, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    run_flow(toy, home, tmp_path, "hello")
    lost = next(one for one in list_manifests(home) if one.stage == "join")
    md5 = lost.files[-1].md5
    (tmp_path / "remote/store/files/md5" / md5[:2] / md5[2:]).write_bytes(b"short")
    done = sweep(home)
    assert lost.key in whole(home)
    assert f"join/{lost.key[:16]}" in {one.name for one in done.held}


def test_what_aliases_name_stays_and_the_champion_before_it(
    toy: Any, home: Home, tmp_path: Path
) -> None:
    """So that `demote` has somewhere to go; the champion before that may go."""
    names = ("first", "second", "third", "fourth")
    runs = {name: run_flow(toy, home, tmp_path, name) for name in names}
    for alias, name in (
        ("champion", "first"),
        ("champion", "second"),
        ("champion", "third"),
        ("candidate", "fourth"),
    ):
        (last,) = [
            one for one in list_manifests(home, "join") if one.provenance["run"] == runs[name]
        ]
        model = {"policy": f"join/{last.key}"}
        move_alias(home, AliasRecord(0, "toy", alias, model, {}, runs[name], "", "a test"))
    sweep(home)
    kept = ("second", "third", "fourth")
    assert whole(home) == set().union(*(made_by(home, runs[name]) for name in kept))
    check_consistent(home)
