"""Programs that outlive their starter: recognised later, and ended with all that they started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from tasks.processes.detached import (
    identity,
    is_alive,
    kill_orphans,
    start_detached,
    terminate,
    was_killed,
)

FAMILY = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print(1); time.sleep(9)"


def start(folder: Path) -> list[psutil.Process]:
    """A program and the one that it started."""
    command, log = [sys.executable, "-uc", FAMILY], folder / "log"
    child = start_detached(command, folder=folder, environment={**os.environ}, log=log)
    while not log.read_text():
        time.sleep(0.01)
    return [psutil.Process(child.pid), *psutil.Process(child.pid).children()]


def test_a_process_number_used_again_is_another_process() -> None:
    me = identity(os.getpid())
    assert is_alive(me)
    assert not is_alive({**me, "started": me["started"] - 60})
    assert not is_alive({"pid": os.getpid()})
    assert not is_alive({})


def test_a_program_ends_with_what_it_started(tmp_path: Path) -> None:
    family = start(tmp_path)
    record = identity(family[0].pid)
    assert len(family) == 2 and is_alive(record)
    assert os.getsid(family[0].pid) != os.getsid(0)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    terminate(family[0].pid)
    assert not is_alive(record)
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_what_a_killed_program_left_behind_is_killed(tmp_path: Path) -> None:
    parent, child = start(tmp_path)
    kill_orphans(parent.pid)
    assert child.is_running(), "while the program lives its family is its own affair"
    parent.kill()
    while parent.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert was_killed(parent.pid) and child.status() != psutil.STATUS_ZOMBIE
    kill_orphans(parent.pid)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_earlier_log_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("earlier")
    terminate(start(tmp_path)[0].pid)
    assert (tmp_path / "log.before").read_text() == "earlier"
