"""Locks: one holder, a message that names it, and an end with the holder's death."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tasks
from tasks.storage.errors import LockTimeoutError
from tasks.storage.locks import FileLock

ROOT = Path(tasks.__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from tasks.storage.locks import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with FileLock(tmp_path / "sub" / "lock"):
        with pytest.raises(LockTimeoutError, match=rf"process {os.getpid()} since 20\d\d-"):
            with FileLock(tmp_path / "sub" / "lock", timeout=0.05):
                pass
    with FileLock(tmp_path / "sub" / "lock", timeout=0):
        pass


def test_waits_until_the_holder_leaves(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with FileLock(tmp_path / "lock"):
            order.append("second")

    with FileLock(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(LockTimeoutError, match=f"process {holder.pid} "):
            with FileLock(tmp_path / "lock", timeout=0):
                pass
        holder.send_signal(signal.SIGKILL)
        with FileLock(tmp_path / "lock", timeout=5):
            pass


def test_one_object_is_not_entered_twice(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock, pytest.raises(RuntimeError, match="already holds"):
        with lock:
            pass
