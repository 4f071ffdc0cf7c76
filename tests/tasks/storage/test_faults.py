"""Numbered durable operations: the counter, the three faults, and a wrong request."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from tasks.storage.faults import fault_count, fault_point

ROOT = Path(tasks.__file__).parents[1]


def test_counts_every_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARRING_FAULT", raising=False)
    before = fault_count()
    for _ in range(3):
        fault_point("write")
    assert fault_count() == before + 3


@pytest.mark.parametrize(("name", "code"), [("enospc", errno.ENOSPC), ("eio", errno.EIO)])
def test_fails_exactly_the_chosen_operation(
    monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.setenv("SPARRING_FAULT", f"{name}@{fault_count() + 2}")
    fault_point("first")
    with pytest.raises(OSError, match="SPARRING_FAULT") as caught:
        fault_point("second")
    assert caught.value.errno == code
    fault_point("third")


@pytest.mark.parametrize("request_text", ["kill", "kill@", "burn@1", "eio@-1"])
def test_wrong_request_is_named(monkeypatch: pytest.MonkeyPatch, request_text: str) -> None:
    monkeypatch.setenv("SPARRING_FAULT", request_text)
    with pytest.raises(ValueError, match=request_text):
        fault_point("write")


def test_kill_is_sigkill_before_the_operation() -> None:
    script = "from tasks.storage.faults import fault_point as f\nfor n in '123': f(n); print(n)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SPARRING_FAULT": "kill@2"}
    done = subprocess.run([sys.executable, "-uc", script], env=env, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"1\n"
