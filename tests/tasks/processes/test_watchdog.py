"""Work that gets on is left alone; work that hangs is given up, with its stacks."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tasks.processes.watchdog import Heartbeat, watch
from tasks.settings.errors import StageError


def run(work: Any, stall: float = 0.2, notes: list[str] | None = None) -> Any:
    note = (notes if notes is not None else []).append
    return watch(work, stall_seconds=stall, name="counting", note=note)


def test_slow_work_that_gets_on_returns_its_result() -> None:
    def work(heartbeat: Heartbeat) -> int:
        for _ in range(10):
            time.sleep(0.05)
            heartbeat.beat()
        return heartbeat.steps

    assert run(work) == 10  # 0.5 s in all, more than twice what a single step may take


@pytest.mark.parametrize("kind", [StageError, KeyError, KeyboardInterrupt])
def test_what_the_work_raises_is_raised(kind: type[BaseException]) -> None:
    def work(heartbeat: Heartbeat) -> None:
        raise kind("broken")

    with pytest.raises(kind, match="broken"):
        run(work)


def test_a_stall_leaves_the_stacks_and_ends_the_work() -> None:
    released, after = threading.Event(), []

    def stuck_here(heartbeat: Heartbeat) -> None:
        heartbeat.beat()
        heartbeat.beat()
        released.wait(30)
        try:
            heartbeat.beat()
            after.append("went on")
        finally:
            after.append("ended")

    notes: list[str] = []
    started = time.monotonic()
    with pytest.raises(StageError, match=r"counting gave no token for 0\.2 s after step 2"):
        run(stuck_here, notes=notes)
    assert time.monotonic() - started < 10
    assert "stuck_here" in notes[0] and "released.wait(30)" in notes[0]
    released.set()
    for thread in threading.enumerate():
        if thread.name == "counting":
            thread.join(10)
    assert after == ["ended"]  # its next beat ended it


def test_a_caller_that_leaves_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []

    def work(heartbeat: Heartbeat) -> None:
        while True:
            heartbeat.beat()
            beats.append(1)
            time.sleep(0.01)

    wait = threading.Event.wait

    def interrupted(self: Any, timeout: float | None = None) -> bool:
        if timeout is None:  # a thread that starts
            return wait(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(work)
    monkeypatch.undo()
    for thread in threading.enumerate():
        if thread.name == "counting":
            thread.join(10)
            assert not thread.is_alive()
