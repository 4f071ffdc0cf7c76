"""The torture itself: what it draws, and what turns it red."""

from __future__ import annotations

import errno
import random
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from tasks.processes.identity import current_process, machine_seconds
from tasks.stages.manifest import Manifest, commit_manifest
from tasks.storage.digests import digest_tree
from tasks.storage.home import Home
from tasks.storage.sealed import write_sealed
from tests.flows.command import Shell
from tests.torture import damage, faults, flips, inside, oracle, verbs
from tests.torture.commands import HUNG, Outcome
from tests.torture.trials import Arena
from tests.torture.worlds import World, Worlds

KEY = "ab" * 32
OPERATIONS = {
    f"update_policy/{KEY}": ["write a1b2c3d4e5.json", "fsync a1b2c3d4e5.json", "write 12.json"],
    inside.OUTSIDE: ["append to stages.journal", "mkdir apo-20261201-010101-abcd"],
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of one finished stage."""
    shell = Shell(tmp_path / "world")
    home = Home(shell.home.root)
    shell.folder.mkdir()
    home.ensure()
    folder = home.store / "update_policy" / KEY[:16]
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    files = tuple(digest_tree(folder))
    commit_manifest(
        home, Manifest(KEY, "update_policy", 1, None, 0, {}, "d" * 32, files, {}, "SFT")
    )
    return World("apo", shell, shell.finished_keys(), OPERATIONS)


def arena(world: World, seed: int = 0) -> Arena:
    worlds = Worlds.__new__(Worlds)
    return Arena(world, world.shell, random.Random(seed), worlds, frozenset())


def test_a_seed_determines_what_is_drawn(world: World) -> None:
    first = [faults.draw(arena(world, seed), seed) for seed in range(40)]
    assert first == [faults.draw(arena(world, seed), seed) for seed in range(40)]
    assert len(set(first)) > 8
    folder = world.shell.folder
    draws = [damage.draw_damage(folder, random.Random(seed)) for seed in range(40)]
    assert draws == [damage.draw_damage(folder, random.Random(seed)) for seed in range(40)]
    assert {one.kind for one in draws} == set(damage.files_by_kind(folder))
    assert {one.how for one in draws} == {"flip", "cut"} and len({d.keeps_time for d in draws}) == 2


def test_the_grid_has_every_action_kind_and_stage_once(world: World) -> None:
    grid = world.grid()
    assert len(grid) == len(set(grid)) == 2 * 4
    assert {cell[1:] for cell in grid} == {
        ("update_policy", "write"), ("update_policy", "fsync"),
        ("outside", "append to"), ("outside", "mkdir"),
    }  # fmt: skip
    drawn = [faults.draw(arena(world), seed) for seed in range(len(grid))]
    assert {(one.action, one.call.partition("/")[0], one.kind) for one in drawn} == set(grid)


def test_operations_are_named_without_what_differs_from_run_to_run() -> None:
    assert inside.word_of("fsync directory attempt-3") == "fsync directory"
    assert inside.word_of("rename to index.json") == "rename to"
    assert inside.kind_of("write apo-20261201-0a1b2c3d.json") == "write apo-#-#.json"
    assert inside.kind_of("fsync model-00001.safetensors") == "fsync model-#.safetensors"


def test_a_fault_strikes_the_operation_that_was_drawn(tmp_path: Path) -> None:
    told = tmp_path / "told"
    fault = inside.Fault("enospc", inside.OUTSIDE, "write", 2, told)
    fault("", 1, "write a.json")
    fault("", 2, "fsync b.json")
    with pytest.raises(OSError, match="asked for by the torture") as caught:
        fault("", 3, "write c.json")
    assert caught.value.errno == errno.ENOSPC and told.read_text() == "write c.json"
    fault("", 4, "write d.json")


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (Outcome(("ls",), 0, "fine", ""), ""),
        (Outcome(("ls",), 2, "", "sparring: what it is"), ""),
        (Outcome(("ls",), 1, "", "Traceback (most recent call last):\nKeyError: 1"), "traceback"),
        (Outcome(("ls",), 139, "", "gone"), "ended with 139"),
        (Outcome(("ls",), -11, "", "gone"), "ended with -11"),
        (Outcome(("ls",), HUNG, "", ""), "hung"),
        (Outcome(("ls",), 1, "", ""), "without a word"),
    ],
)
def test_an_end_without_sense_is_seen(outcome: Outcome, sentence: str) -> None:
    problems = list(oracle.ended_well(outcome))
    assert bool(problems) == bool(sentence) and sentence in "; ".join(problems)


def test_a_wrong_digest_is_seen(world: World) -> None:
    sound = world.keys
    assert list(oracle.same_digests(world.shell, sound)) == []
    (wrong,) = oracle.same_digests(world.shell, dict.fromkeys(sound, "e" * 32), whole=False)
    assert "a wrong result" in wrong
    assert "is not finished" in "".join(oracle.same_digests(world.shell, {**sound, "a/b": "c"}))
    assert "none of the undisturbed" in "".join(oracle.same_digests(world.shell, {}))


def test_a_changed_byte_of_an_output_is_seen(world: World) -> None:
    assert list(oracle.whole_outputs(world.shell, verify=True)) == []
    path = PurePosixPath(f".sparring/store/update_policy/{KEY[:16]}/model.safetensors")
    flip = damage.Damage(path, "store .safetensors", "flip", 3, 1, keeps_time=True)
    before = (world.shell.folder / path).stat()
    damage.inflict(world.shell.folder, flip)
    after = (world.shell.folder / path).stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    (problem,) = oracle.whole_outputs(world.shell, verify=True)
    assert "model.safetensors" in problem
    damage.inflict(world.shell.folder, flip._replace(how="cut"))
    assert (world.shell.folder / path).stat().st_size == 3


def test_a_lease_that_is_held_is_seen(world: World, tmp_path: Path) -> None:
    lease = world.shell.home.leases / f"{KEY}.json"
    write_sealed(lease, {"token": 1, "owner": None})
    assert list(oracle.nothing_left(world.shell, tmp_path / "none.db", frozenset())) == []
    here = current_process()
    dead = replace(here, started=here.started - 1000)
    owned = {"token": 1, "beat": machine_seconds(), "time": time.time()}
    write_sealed(lease, {**owned, "owner": dead.to_json()})
    assert list(oracle.nothing_left(world.shell, tmp_path / "none.db", frozenset())) == []
    write_sealed(lease, {**owned, "owner": here.to_json()})
    (left,) = oracle.nothing_left(world.shell, tmp_path / "none.db", frozenset())
    assert left == f"the lease {KEY}.json is held"


class _Said(verbs.Sound):
    """A sound world that says one thing."""

    def of(self, worlds: Worlds, world: World, verb: str) -> verbs.Said:
        return 0, ["1 artifact", "all is well"], {}


@pytest.mark.parametrize(
    ("code", "out", "err", "sentence"),
    [
        (0, "1 artifact\nall is well", "", ""),
        (0, "0 artifacts\nall is well", "", "says other things"),
        (0, "0 artifacts", "warning: model.safeten\nsors is damaged", ""),
        (1, "", "sparring: something is damaged", "names nothing"),
        (1, "", f"sparring: update_policy {KEY[:12]} is damaged", ""),
    ],
)
def test_a_silent_difference_is_seen(
    world: World, code: int, out: str, err: str, sentence: str
) -> None:
    outcome = Outcome(("ls", "artifacts"), code, out, err)
    names = {"model.safetensors", KEY[:8]}
    found = list(flips.judge_verb(arena(world), "ls artifacts", outcome, names, _Said()))
    assert bool(found) == bool(sentence) and sentence in "; ".join(found)


def test_an_export_of_other_bytes_is_seen(world: World) -> None:
    outcome = Outcome(("export",), 0, "1 artifact\nall is well", "")
    (world.shell.folder / "exported").mkdir()
    (world.shell.folder / "exported" / "model.safetensors").write_bytes(b"other")
    (found,) = flips.judge_verb(arena(world), "export", outcome, {"x"}, _Said())
    assert "exported other bytes" in found


def test_a_refusal_names_the_damage(world: World) -> None:
    refused = Outcome(("run",), 1, "", "sparring: no")
    assert "names nothing" in "".join(flips.judge_end(arena(world), refused, {"a.json"}))
    named = Outcome(("run",), 1, "", "sparring: a.json is damaged")
    assert list(flips.judge_end(arena(world), named, {"a.json"})) == []
