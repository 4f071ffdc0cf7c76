"""A command that no stage starts has GPUs of its own too: another machine's part of a training."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.log import NullLog
from tasks.stages.leases import command, gpus
from tasks.stages.leases.gpus import VISIBLE, gpu_holders, held_gpus
from tasks.training.config import TrainingConfig
from tasks.training.distributed import launch


@pytest.fixture(autouse=True)
def _three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs."""
    monkeypatch.setattr(gpus, "machine_gpus", lambda: ("0", "1", "2"))
    monkeypatch.setattr(gpus, "_FOLDER", tmp_path / "gpus")


def test_a_command_sees_what_it_holds_until_it_ends(
    child: Any, wait_until: Any, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    program = f"import os, time; open({str(seen)!r}, 'w').write(os.environ['{VISIBLE}'])"
    words = [sys.executable, "-S", "-c", f"{program}; time.sleep(600)"]
    with held_gpus(1, print):
        running = child(lambda: command.main(2, words))
        wait_until(lambda: seen.exists() and seen.read_text() != "")
        assert seen.read_text() == "1,2"
    assert gpu_holders()["0"] == "" and all(gpu_holders()[name] for name in "12")
    running.send(signal.SIGKILL)
    running.wait()
    assert set(gpu_holders().values()) == {""}


def test_the_other_machines_of_a_training_are_told_to_hold_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launch.RENDEZVOUS, "gpu-0:29500")
    said: list[str] = []
    log = NullLog()
    monkeypatch.setattr(log, "note", said.append, raising=False)
    launch._tell_others(TrainingConfig(nodes=2, processes=4), tmp_path / "order.json", log)
    words = shlex.split(said[0].split(": ", 1)[1])
    assert words[1:4] == ["-m", command.__name__, "4"]
    assert words[4:7] == [sys.executable, "-m", "torch.distributed.run"]
    assert os.path.isabs(words[-1]) and "--nproc-per-node=4" in words
