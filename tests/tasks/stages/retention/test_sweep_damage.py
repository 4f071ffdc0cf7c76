"""Housekeeping drops nothing while it cannot know what is needed; last copies go by the trash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import StageError
from tasks.stages.flow_run import open_run
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import list_manifests
from tasks.stages.plan import planning
from tasks.stages.runs.aliases import (
    AliasRecord,
    alias_history,
    current_alias,
    list_aliases,
    move_alias,
)
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import list_runs
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tests.tasks.stages.retention.housekeeping import (
    NOW,
    check_consistent,
    made_by,
    run_flow,
    sweep,
    whole,
)


@pytest.fixture
def run(toy: Any, home: Home, tmp_path: Path) -> str:
    """A completed run of three stages."""
    return run_flow(toy, home, tmp_path, "hello")


def cut(path: Path) -> None:
    """As a disk that lost its last blocks leaves it: whole records, but not all."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("stages.journal", cut),
        ("stages.journal", flip),
        ("stages.journal", Path.unlink),
        ("run.json", flip),
        ("run.json", Path.unlink),
        ("config.yaml", flip),
    ],
)
def test_a_damaged_record_of_a_run_stops_everything(
    home: Home, run: str, name: str, damage: Callable[[Path], None]
) -> None:
    damage(home.runs / run / name)
    with pytest.raises(StageError, match=run):
        sweep(home, replace(NOW, keep_runs=3))
    assert whole(home) == made_by(home, run)


def test_a_damaged_manifest_stops_everything(home: Home, run: str) -> None:
    """The chain from the last output to what it was made from leads through it."""
    flip(next((home.manifests / "join").glob("*.json")))
    with pytest.raises(CorruptError, match=r"is damaged.*run its flow again"):
        sweep(home, replace(NOW, keep_runs=3))


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_going_on_with_the_run_mends_its_journal(
    toy: Any, home: Home, run: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """What the refusal advises."""
    damage(home.runs / run / "stages.journal")
    with open_run("toy", config={}, config_text="", home=home, mlruns=tmp_path, resume=run):
        toy.flow()
    assert not sweep(home, replace(NOW, keep_runs=3)).last_copies
    assert whole(home) == made_by(home, run)


def test_a_damaged_record_is_said_and_hides_no_other_run(
    toy: Any, home: Home, run: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(home.runs / run / "run.json")
    other = run_flow(toy, home, tmp_path, "world")
    assert [one.id for one in list_runs(home)] == [other]
    assert f"{run} cannot be read" in caplog.text


def test_old_damage_stops_no_other_work(
    toy: Any, home: Home, run: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped journal, old moves of an alias: the rest goes on and says so; gc waits."""
    other = run_flow(toy, home, tmp_path, "world")
    for name in ("candidate", "champion", "champion"):
        move_alias(home, AliasRecord(0, "toy", name, {}, {}, other, "", "a test"))
    for path in (
        home.runs / run / "stages.journal",
        home.root / "aliases/toy/champion/000001.json",
        home.root / "aliases/toy/candidate/000001.json",
    ):
        flip(path)
    assert len(stage_events(home, run)) < len(stage_events(home, other))
    assert [one.alias for one in list_aliases(home)] == ["champion"]
    assert current_alias(home, "toy", "champion").number == 2
    assert lineage_graph(home).into
    assert "stages.journal is damaged at line" in caplog.text
    with pytest.raises(CorruptError, match="candidate/000001.json is damaged"):
        sweep(home)
    with pytest.raises(CorruptError, match="champion/000001.json is damaged"):
        alias_history(home, "toy", "champion")


def test_a_last_copy_comes_back_from_the_trash(
    toy: Any, home: Home, run: str, tmp_path: Path
) -> None:
    policy = replace(NOW, trash_days=7.0)
    done = sweep(home, policy)
    assert whole(home) == set() and done.trash_size > 0
    assert {item.kind for item in done.items if not item.to_trash} == {"objects"}
    before = {one.key: one.provenance["run"] for one in list_manifests(home)}
    with planning(home) as plan:
        toy.flow()
    assert {one.state for one in plan.planned} == {"done"}
    run_flow(toy, home, tmp_path, "hello")
    assert whole(home) == before.keys()
    assert {one.key: one.provenance["run"] for one in list_manifests(home)} == before, "not remade"
    check_consistent(home)


def test_the_trash_is_emptied_when_its_days_are_over(home: Home, run: str) -> None:
    sweep(home, replace(NOW, trash_days=7.0))
    thrown = [path for path in (home.store / ".trash").rglob("*") if path.is_file()]
    assert not sweep(home, replace(NOW, trash_days=7.0)).items, "not yet"
    done = sweep(home, NOW)
    assert {item.kind for item in done.items} == {"trash"} and done.size > 0
    assert thrown and not any(path.exists() for path in thrown)


def test_a_run_from_before_counted_journals_is_kept_by_its_journal(home: Home, run: str) -> None:
    path = home.runs / run / "run.json"
    old = json.loads(path.read_text())
    del old["seal"], old["journal_records"]
    path.write_text(json.dumps(old))
    sweep(home, replace(NOW, keep_runs=3))
    assert whole(home) == made_by(home, run)
