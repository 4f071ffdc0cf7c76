"""GPUs are handed out: to one holder at a time, to the next when that ends, and never too few."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.settings.errors import ConfigError
from tasks.stages.leases import gpus
from tasks.stages.leases.gpus import VISIBLE, gpu_holders, held_gpus, machine_gpus, visible_gpus
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.errors import StorageError
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig


@stage_task(version=1, resources="gpu")
def seeing(*, config: PolicyConfig, workspace: Workspace) -> dict[str, float]:
    """Write down which GPUs CUDA would show."""
    (workspace.output / "seen").write_text(os.environ.get(VISIBLE, "all"))
    return {}


@pytest.fixture(autouse=True)
def _three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the GPUs 4, 5 and 6."""
    monkeypatch.setattr(gpus, "machine_gpus", lambda: ("4", "5", "6"))
    monkeypatch.setattr(gpus, "_FOLDER", tmp_path / "gpus")
    monkeypatch.setattr(gpus, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(gpus, "_in_use", [])
    monkeypatch.delenv(VISIBLE, raising=False)


def _stopping() -> threading.Event:
    """Return an event that ends the waiting at once."""
    event = threading.Event()
    event.set()
    return event


def test_the_machines_gpus_are_those_that_this_process_was_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = machine_gpus.__wrapped__
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert shown() == ("0", "1")
    monkeypatch.setenv(VISIBLE, "7, GPU-8a,9")  # torch does not count what is not there
    assert shown() == ("7", "GPU-8a")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv(VISIBLE, "")
    assert shown() == ()


def test_a_gpu_has_one_holder_and_the_least_lately_used_is_next() -> None:
    with held_gpus(1, print) as one, held_gpus(2, print) as two:
        assert one.names == ("4",) and two.names == ("5", "6")
        assert all(f"process {os.getpid()} " in holder for holder in gpu_holders().values())
        with pytest.raises(KeyboardInterrupt), held_gpus(1, print, stopping=_stopping()):
            pass
    assert gpu_holders() == {"4": "", "5": "", "6": ""}
    os.utime(gpus._path("4"), (3, 3))
    os.utime(gpus._path("5"), (1, 1))
    os.utime(gpus._path("6"), (2, 2))
    with held_gpus(2, print) as found:
        assert found.names == ("5", "6")


def test_whoever_waits_says_for_whom_and_gets_what_comes_free() -> None:
    said: list[str] = []
    found: list[tuple[str, ...]] = []

    def wait() -> None:
        with held_gpus(2, said.append) as two:
            found.append(two.names)

    with held_gpus(2, print):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not said:
            pass
        assert f"waits until process {os.getpid()} since" in said[0]
        assert found == []
    waiting.join(30)
    assert len(set(found[0])) == 2


def test_many_who_want_several_never_wait_for_each_other() -> None:
    """Each of eight takes two of three, again and again; who kept one and waited would hang it."""
    at_once: list[str] = []

    def take() -> None:
        for _ in range(5):
            with held_gpus(2, lambda _: None) as two:
                at_once.extend(two.names)
                assert len(set(at_once)) == len(at_once) == 2
                at_once.clear()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_killed_holder_gives_back_at_once(child: Any, wait_until: Any, tmp_path: Path) -> None:
    def hold() -> None:
        with held_gpus(3, print):
            (tmp_path / "holds").touch()
            signal.pause()

    holder = child(hold)
    wait_until((tmp_path / "holds").exists)
    with pytest.raises(KeyboardInterrupt), held_gpus(1, print, stopping=_stopping()):
        pass
    holder.send(signal.SIGKILL)
    holder.wait()
    with held_gpus(3, print, stopping=_stopping()) as all_of_them:
        assert len(all_of_them.names) == 3


def test_a_process_that_inherits_the_locks_holds_on_until_it_ends() -> None:
    with held_gpus(3, print) as held:
        heir = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=held.descriptors,
        )
    with pytest.raises(KeyboardInterrupt), held_gpus(1, print, stopping=_stopping()):
        pass
    heir.kill()
    heir.communicate()
    with held_gpus(3, print, stopping=_stopping()) as held:
        assert len(held.names) == 3


def test_too_few_are_refused() -> None:
    with (
        pytest.raises(ConfigError, match="4 GPUs are asked for, and this machine shows 3"),
        held_gpus(4, print),
    ):
        pass


def test_a_folder_of_somebody_else_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "gpus").symlink_to(tmp_path / "theirs")
    with pytest.raises(StorageError, match="is not this user's"), held_gpus(1, print):
        pass
    assert not list((tmp_path / "theirs").iterdir())


def test_the_block_sees_only_what_it_holds_and_torch_stays_where_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    with visible_gpus(1, print):
        assert os.environ[VISIBLE] == "4"
    assert VISIBLE not in os.environ and not emptied
    with visible_gpus(1, print):
        assert os.environ[VISIBLE] == "5", "it is not bound to what it only started others on"
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert emptied == [None], "others get the memory"
    monkeypatch.setenv(VISIBLE, "4,5,6")
    with visible_gpus(3, print):
        assert os.environ[VISIBLE] == "5,6,4" and torch.cuda.is_initialized()
    with visible_gpus(0, print):
        assert os.environ[VISIBLE] == "4,5,6"


def test_a_machine_without_gpus_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "machine_gpus", lambda: ())
    with visible_gpus(8, print):
        assert VISIBLE not in os.environ
    assert not gpus._FOLDER.exists() and gpu_holders() == {}


@pytest.mark.parametrize(("processes", "seen"), [(1, "4"), (2, "4,5")])
def test_a_stage_sees_as_many_as_its_config_says(home: Home, processes: int, seen: str) -> None:
    config = PolicyConfig(training=TrainingConfig(processes=processes))
    assert (seeing(config=config).path / "seen").read_text() == seen


def test_a_stage_for_which_others_hold_them_takes_none(home: Home) -> None:
    with entered(RunContext(home, leases_gpus=False)):
        seen = seeing(config=PolicyConfig())
    assert (seen.path / "seen").read_text() == "all"


@pytest.fixture
def _without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver, and nothing that says which GPUs there are before CUDA begins."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "_device_count_nvml", lambda: -1)
    monkeypatch.setattr(gpus.ctypes, "CDLL", lambda name: name)


def test_without_nvml_the_gpus_are_counted_in_a_process_of_its_own(
    _without_nvml: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked here, CUDA would show this process all of them for good, whatever it leases later."""

    def begins() -> int:
        raise AssertionError("CUDA begins in this process")

    monkeypatch.setattr(torch.cuda, "device_count", begins)
    assert machine_gpus.__wrapped__() == (), "the other process finds that there are none here"
    monkeypatch.setattr(gpus, "_counted_apart", lambda: 2)
    assert machine_gpus.__wrapped__() == ("0", "1")
    monkeypatch.setattr(torch.cuda, "_device_count_nvml", lambda: 3)
    with pytest.raises(AssertionError, match="begins"):
        machine_gpus.__wrapped__()


def test_without_nvml_a_process_comes_back_to_the_gpu_that_it_may_have_begun_on(
    _without_nvml: None,
) -> None:
    with visible_gpus(1, print):
        assert os.environ[VISIBLE] == "4"
    with visible_gpus(1, print):
        assert os.environ[VISIBLE] == "4"


def test_a_machine_without_a_driver_asks_torch(
    _without_nvml: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(gpus.ctypes, "CDLL", missing)
    monkeypatch.setattr(gpus, "_counted_apart", lambda: 2)
    assert machine_gpus.__wrapped__() == ()
