"""Parts of an attempt: whole or absent after a kill anywhere, verified before they are adopted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from tasks.storage.errors import DiskError, UnsafePathError
from tasks.storage.faults import fault_count
from tasks.storage.sealed import read_sealed
from tasks.storage.trees import walk_tree
from tasks.storage.workspace import Workspace

ROOT = Path(tasks.__file__).parents[1]
SAVE = """
import sys
from pathlib import Path
from tasks.storage.faults import fault_count
from tasks.storage.sealed import read_sealed
from tasks.storage.workspace import Workspace
def write(folder):
    (folder / "sub").mkdir()
    (folder / "a").write_text("one")
    (folder / "sub" / "b").write_text("two")
workspace = Workspace(Path(sys.argv[1]) / "attempt-1")
print(fault_count(), flush=True)
workspace.save_part("step-00000120", write)
print(fault_count(), flush=True)
"""
ADOPT = """
import sys
from pathlib import Path
from tasks.storage.faults import fault_count
from tasks.storage.sealed import read_sealed
from tasks.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]) / "attempt-2")
print(fault_count(), flush=True)
assert workspace.adopt_parts([Path(sys.argv[1]) / "attempt-1"]) == []
print(fault_count(), flush=True)
"""
WHOLE = {"a": "one", "sub/b": "two"}


def write(folder: Path) -> None:
    """Fill a part with two files."""
    (folder / "sub").mkdir()
    for name, text in WHOLE.items():
        (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    """Return the text of every file of a folder."""
    return {name: (folder / name).read_text() for name in walk_tree(folder)[0]}


def run(script: str, key: Path, fault: str = "") -> tuple[int, list[int]]:
    """Run a script on a key's folder; return its exit status and the counts it printed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SPARRING_FAULT": fault}
    done = subprocess.run([sys.executable, "-c", script, str(key)], env=env, capture_output=True)
    return done.returncode, [int(line) for line in done.stdout.split()]


def test_save_and_read(tmp_path: Path) -> None:
    calls: list[str] = []
    workspace = Workspace(tmp_path / "attempt-1", guard=lambda: calls.append("guard"))
    assert workspace.output.is_dir() and workspace.part("a") is None
    for name in ("shard-2", "shard-1"):
        assert workspace.save_part(name, write) == workspace.parts / name
    assert workspace.part_names() == ["shard-1", "shard-2"]
    assert content(workspace.parts / "shard-1") == WHOLE
    assert calls == ["guard"] * 4
    marker = read_sealed(workspace.parts / "shard-1.json")
    # `printf one | sha256sum` and `printf two | sha256sum`
    assert marker == {"files": [
        {"path": "a", "size": 3,
         "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"},
        {"path": "sub/b", "size": 3,
         "sha256": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"},
    ]}  # fmt: skip
    workspace.drop_part("shard-1")
    workspace.drop_part("shard-1")
    assert workspace.part_names() == ["shard-2"]


def test_replacing_a_part(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.save_part("p", write)
    workspace.save_part("p", lambda folder: (folder / "new").write_text("x") and None)
    assert content(workspace.parts / "p") == {"new": "x"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "tmp-a", "a.json", ".a", "é", "x" * 201])
def test_names_of_parts(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    for act in (workspace.part, workspace.drop_part, lambda name: workspace.save_part(name, write)):
        with pytest.raises(UnsafePathError):
            act(name)


def test_lost_guard_and_failing_writer_leave_nothing(tmp_path: Path) -> None:
    lost = [False, True]

    def guard() -> None:
        if lost.pop(0):
            raise RuntimeError("lease lost")

    workspace = Workspace(tmp_path, guard)
    with pytest.raises(RuntimeError, match="lease lost"):
        workspace.save_part("p", write)
    assert list(workspace.parts.iterdir()) == []
    workspace.guard = lambda: None

    def fail(folder: Path) -> None:
        write(folder)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        workspace.save_part("p", fail)
    assert list(workspace.parts.iterdir()) == []


def test_missing_or_short_file_makes_a_part_unfinished(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.save_part("p", write)
    (workspace.parts / "p" / "a").write_text("on")
    assert workspace.part("p") is None and workspace.part_names() == []
    (workspace.parts / "p" / "a").unlink()
    assert workspace.part("p") is None


def test_kill_at_every_operation_of_save_part(tmp_path: Path) -> None:
    status, (before, after) = run(SAVE, tmp_path / "whole")
    assert status == 0 and after - before >= 10
    seen = set()
    for number in range(before + 1, after + 1):
        key = tmp_path / str(number)
        status, _ = run(SAVE, key, f"kill@{number}")
        assert status == -signal.SIGKILL
        workspace = Workspace(key / "attempt-1")
        part = workspace.part("step-00000120")
        seen.add(part is not None)
        assert part is None or content(part) == WHOLE
        # The same attempt and a later one both go on from either state.
        later = Workspace(key / "attempt-2")
        assert later.adopt_parts([workspace.path]) == []
        assert later.part_names() == (["step-00000120"] if part else [])
        workspace.save_part("step-00000120", write)
        assert workspace.part_names() == ["step-00000120"]
    assert seen == {True, False}


def test_kill_at_every_operation_of_adopting_loses_nothing(tmp_path: Path) -> None:
    Workspace(tmp_path / "whole" / "attempt-1").save_part("p", write)
    status, (before, after) = run(ADOPT, tmp_path / "whole")
    assert status == 0
    for number in range(before + 1, after + 1):
        key = tmp_path / str(number)
        first = Workspace(key / "attempt-1")
        first.save_part("p", write)
        assert run(ADOPT, key, f"kill@{number}")[0] == -signal.SIGKILL
        third = Workspace(key / "attempt-3")
        assert third.adopt_parts([first.path, key / "attempt-2"]) == []
        part = third.part("p")
        assert part is not None and content(part) == WHOLE


def test_full_disk_at_every_operation_of_save_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    before = fault_count()
    workspace.save_part("kept", write)
    for operation in range(1, fault_count() - before + 1):
        monkeypatch.setenv("SPARRING_FAULT", f"enospc@{fault_count() + operation}")
        with pytest.raises(DiskError, match="full"):
            workspace.save_part("p", write)
        monkeypatch.delenv("SPARRING_FAULT")
        assert "kept" in workspace.part_names()
        left = {path.name for path in workspace.parts.iterdir()} - {"kept", "kept.json"}
        assert left in (set(), {"p", "p.json"})
        workspace.drop_part("p")


def test_adopts_the_newest_undamaged_of_each_name(tmp_path: Path) -> None:
    texts = {"attempt-2": "two", "attempt-10": "ten", "attempt-1": "one"}
    for attempt, text in texts.items():
        for name in ("p", attempt):
            Workspace(tmp_path / attempt).save_part(
                name, lambda folder, text=text: (folder / "f").write_text(text) and None
            )
    damaged = tmp_path / "attempt-10" / "parts" / "p" / "f"
    damaged.write_text("tin")
    mine = Workspace(tmp_path / "attempt-11")
    mine.save_part("attempt-1", write)
    earlier = [tmp_path / name for name in texts]
    rejected = mine.adopt_parts(earlier)
    assert rejected == [
        "attempt-10: part p is left behind: f does not have the SHA-256 it was saved with"
    ]
    assert mine.part_names() == ["attempt-1", "attempt-10", "attempt-2", "p"]
    assert content(mine.parts / "p") == {"f": "two"}
    assert content(mine.parts / "attempt-1") == WHOLE
    assert damaged.read_text() == "tin"
    assert Workspace(tmp_path / "attempt-2").part_names() == []
    assert earlier == [tmp_path / name for name in texts]


@pytest.mark.parametrize("name", ["p/a", "p/sub/b", "p.json"])
def test_every_flipped_byte_is_detected(tmp_path: Path, name: str) -> None:
    """A flip in the record may be harmless (white space); what is adopted is still exact."""
    first = Workspace(tmp_path / "attempt-1")
    first.save_part("p", write)
    path = first.parts / name
    good = path.read_bytes()
    for place in range(0, len(good), 1 if len(good) < 10 else 3):
        raw = bytearray(good)
        raw[place] ^= 0x11
        path.write_bytes(raw)
        second = Workspace(tmp_path / f"attempt-{place + 2}")
        rejected = second.adopt_parts([first.path])
        if rejected:
            assert "attempt-1: part p is left behind: " in rejected[0]
            assert name.removeprefix("p/") in rejected[0] or name == "p.json"
            assert second.part_names() == []
            path.write_bytes(good)
        else:
            assert name == "p.json"
            assert content(second.parts / "p") == WHOLE
            first.save_part("p", write)
