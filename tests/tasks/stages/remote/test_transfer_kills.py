"""A machine killed anywhere while it shares its work; it, or another, finishes the same."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.artifact import external_artifact
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.storage import faults
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import require_remote

STEP = 17
"""Each test kills at every so many durable operations; together they kill at all of them."""


def _kill_at(
    toy: Any, child: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: int
) -> None:
    """Kill the flow at every 17th operation, each with a new remote; another machine finishes."""
    source = external_artifact(toy.source)

    def work() -> str:
        made = toy.shard(source, config=toy.config(), seed=1)
        return str(toy.join([made, made.part("00001")]).digest)

    def move(number: str, machine: str) -> Home:
        monkeypatch.setenv("SPARRING_HOME", str(tmp_path / number / machine))
        monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / number / "shared"))
        (tmp_path / number).mkdir(exist_ok=True)
        return current_home().ensure()

    move("whole", "a")
    code, answer = child(lambda: f"{work()} {faults.fault_count()}").wait()
    assert code == 0, answer
    digest, count = answer.split()
    for number in range(first, int(count) + 1, STEP):
        move(str(number), "a")
        toy.trace.unlink(missing_ok=True)
        end = child(work, SPARRING_FAULT=f"kill@{number}").wait()[0]
        # A beat of the lease more or less moves the last operations.
        assert end == -signal.SIGKILL or (end == 0 and number > int(count) - STEP)
        shared = tmp_path / str(number) / "shared"
        done = {path.stem for path in shared.glob("manifests/*/*.json")}
        began = len(toy.started())
        home = move(str(number), "ab"[number % 2])  # the same machine, or another
        assert child(work).wait() == (0, digest), number
        again = [name for name in toy.started()[began:] if not name.startswith("part")]
        assert len(again) == 2 - len(done), number
        whole = list_manifests(home)
        assert len(whole) == 2
        last = move(str(number), "c")
        assert child(work).wait() == (0, digest), number
        assert len(list_manifests(last)) == 2
        assert not list(shared.glob("work/**/*.json")), number
        for one in list_manifests(home, "join"):
            assert number % 2 or not damaged_files(home, one, verify=True)
        shutil.rmtree(tmp_path / str(number))


@pytest.mark.parametrize(
    "first", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, STEP + 1))]
)
def test_killed_at_every_operation(
    toy: Any, child: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: int
) -> None:
    _kill_at(toy, child, monkeypatch, tmp_path, first)


@pytest.mark.slow
def test_killed_at_some_requests_to_an_object_store(
    toy: Any, s3: Any, at: Any, child: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed as soon as the server has heard its N-th request."""
    source = external_artifact(toy.source)

    def work() -> str:
        made = toy.shard(source, config=toy.config(), seed=1)
        return str(toy.join([made, made.part("00001")]).digest)

    at("whole")
    monkeypatch.setenv("SPARRING_REMOTE", f"s3://{s3.bucket()}/whole")
    before = len(s3.requests())
    code, digest = child(work).wait()
    assert code == 0, digest
    for number in range(1, len(s3.requests()) - before, 3):
        monkeypatch.setenv("SPARRING_REMOTE", f"s3://{s3.bucket()}")
        at(f"{number}-a")
        before = len(s3.requests())
        process = child(work)
        wait_until(lambda at=before + number: len(s3.requests()) >= at)
        process.send(signal.SIGKILL)
        process.wait()
        at(f"{number}-{'ab'[number % 2]}")
        assert child(work).wait() == (0, digest), number
        last = at(f"{number}-c")
        assert work() == digest and len(list_manifests(last)) == 2
        assert not require_remote().names("work/"), number
