"""Branches side by side: results keep order, errors end the work, a killed worker is replaced."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.placement.local_workers import side_by_side
from flows.placement.worker_process import LocalWorker
from tasks.stages.call import StageCall, StageSpec
from tasks.stages.leases.gpus import held_gpus
from tasks.stages.manifest import list_manifests
from tasks.stages.runs.context import RunContext
from tasks.storage.home import Home
from tasks.training.config import PolicyConfig, TrainingConfig
from tests.flows.command import Shell, sets, wait_until

SMALL = Path(__file__).parents[1] / "configs" / "exo-small.yaml"
TWO = sets(
    "branches=[{method: exo_rw, beta_pi: 0.5, beta_r: 0.5, responses: 4}, {method: exo_pref}]",
    "evaluation.density=null",
)


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext(Home(tmp_path), "run-1", remote=None)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_stand_in_the_order_of_the_items(run: RunContext, count: int) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> tuple[int, str]:
        # With several workers the first item ends after the second.
        if count > 1 and item == 0:
            first_may_end.wait(60)
        first_may_end.set()
        return item * item, threading.current_thread().name

    with side_by_side(run, count) as workers:
        found = workers.map(range(4), work)
    assert [square for square, _ in found] == [0, 1, 4, 9]
    assert all(name.startswith("local-worker") == (count > 1) for _, name in found)
    assert run.dispatch is None


def test_after_an_error_nothing_more_is_begun_and_what_was_begun_is_finished(
    run: RunContext,
) -> None:
    begun, ended, failed = [], [], threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            failed.wait(60)
            ended.append(item)
            return
        failed.set()
        raise ValueError(f"item {item} cannot be done")

    with side_by_side(run, 2) as workers, pytest.raises(ValueError, match="item 1 cannot be done"):
        workers.map(range(50), work)
    assert ended == [0] and len(begun) < 50


def test_a_plan_takes_branches_one_by_one(run: RunContext) -> None:
    run.mode = "plan"
    with side_by_side(run, 4) as workers:
        assert (
            workers.map([1, 2], lambda _: threading.current_thread())
            == [threading.main_thread()] * 2
        )


def shown(worker: LocalWorker) -> set[str]:
    """Return the GPUs that a worker's process sees."""
    process = psutil.Process(worker.process.pid)
    # The system tells a program's variables a moment after it has begun.
    wait_until(lambda: "CUDA_VISIBLE_DEVICES" in process.environ())
    return set(filter(None, process.environ()["CUDA_VISIBLE_DEVICES"].split(",")))


def toy(resources: Any, processes: int = 1) -> StageCall:
    """Return a call that uses GPUs; nobody makes it."""

    def body(*, config: PolicyConfig) -> None:
        """Do nothing."""

    config = PolicyConfig(training=TrainingConfig(processes=processes))
    return StageSpec("toy", 1, resources, body).bind((), {"config": config})


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with the GPUs 4, 5 and 6."""
    monkeypatch.setattr("tasks.stages.leases.gpus.machine_gpus", lambda: ("4", "5", "6"))
    monkeypatch.setattr("tasks.stages.leases.gpus._FOLDER", tmp_path / "gpus")


@pytest.mark.usefixtures("three_gpus")
def test_each_branch_has_gpus_of_its_own_until_it_is_done(run: RunContext) -> None:
    """Four branches on three GPUs; all of them are done, and no two had one at the same time."""
    held: dict[int, set[str]] = {}
    three_at_once = threading.Barrier(3)

    def work(item: int) -> None:
        worker = workers._worker_for(toy("gpu"))
        assert worker is workers._worker_for(toy("cpu")) and worker.gpus == 1
        held[item] = shown(worker)
        assert len(set().union(*held.values())) == len(held)
        if item < 3:
            three_at_once.wait(60)
        del held[item]

    with side_by_side(run, 4) as workers:
        workers.map(range(4), work)
        assert not workers._all
    with held_gpus(3, print, stopping=set_event()) as free:
        assert len(free.names) == 3


@pytest.mark.usefixtures("three_gpus")
def test_a_stage_that_uses_more_gets_another_worker(run: RunContext) -> None:
    def work(item: int) -> list[set[str]]:
        calls = (toy("cpu"), toy("gpu"), toy("gpu", 3), toy("gpu"))
        return [shown(workers._worker_for(call)) for call in calls]

    with side_by_side(run, 2) as workers:
        for none, one, three, again in workers.map(range(2), work):
            assert none == set() and len(one) == len(again) == 1
            assert three == {"4", "5", "6"}


@pytest.mark.usefixtures("three_gpus")
def test_a_killed_worker_gives_its_gpus_back(run: RunContext) -> None:
    def work(item: int) -> None:
        worker = workers._worker_for(toy("gpu", 3))
        worker.process.kill()
        worker.process.wait()
        with held_gpus(3, print, stopping=set_event()) as free:
            assert len(free.names) == 3

    with side_by_side(run, 2) as workers:
        workers.map([0], work)


def test_a_worker_without_gpus_is_kept_for_the_next_branch(run: RunContext) -> None:
    """It answers there too: it must not end with the first branch."""
    two_at_once = threading.Barrier(2)

    def work(_: int) -> LocalWorker:
        worker = workers._worker_for(toy("cpu"))
        answer = worker.make({}, lambda event, values: None)
        assert answer is not None and answer["error"] == "KeyError"
        two_at_once.wait(60)
        return worker

    with side_by_side(run, 2) as workers:
        first, second = workers.map(range(2), work), workers.map(range(2), work)
        assert len(set(map(id, first))) == 2 and set(map(id, first)) == set(map(id, second))
    assert all(worker.process.poll() is not None for worker in first), "none outlives the block"


def set_event() -> threading.Event:
    """Return an event that ends waiting before it begins."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("undisturbed"))
    shell("run", "exo", "-c", str(SMALL), *TWO, "--set", "placement.side_by_side=1")
    return shell


def worker_processes(process: psutil.Process) -> list[psutil.Process]:
    return [
        child
        for child in process.children(recursive=True)
        if "flows.placement.local_worker" in " ".join(child.cmdline())
    ]


def start(tmp_path: Path, undisturbed: Shell) -> tuple[Shell, psutil.Process, object]:
    """Start the run, and wait until a worker has begun to train."""
    shell = Shell(tmp_path)
    shutil.copytree(undisturbed.folder / "data", tmp_path / "data")
    process = shell.start("run", "exo", "-c", str(SMALL), *TWO)
    parent = psutil.Process(process.pid)

    def trains() -> bool:
        assert process.poll() is None, process.communicate()
        begun = [one for one in shell.events() if one["event"] == "started"]
        return any("EXO-rw" in one["label"] for one in begun) and bool(worker_processes(parent))

    wait_until(trains)
    return shell, parent, process


@pytest.mark.slow
def test_a_killed_worker_is_begun_again_and_ends_with_the_same_bytes(
    tmp_path: Path, undisturbed: Shell
) -> None:
    shell, parent, process = start(tmp_path, undisturbed)
    for worker in worker_processes(parent):
        worker.kill()
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "ended by signal 9; it is begun again" in out
    assert digests(shell) == digests(undisturbed)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_saves_its_workers_and_resumes(
    tmp_path: Path, undisturbed: Shell
) -> None:
    shell, parent, process = start(tmp_path, undisturbed)
    workers = worker_processes(parent)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=900)
    assert process.returncode == 130
    assert not psutil.wait_procs(workers, timeout=30)[1], "no worker outlives its run"
    shell("resume", "latest")
    assert digests(shell) == digests(undisturbed)


def digests(shell: Shell) -> dict[str, str]:
    return {
        f"{one.stage}/{one.label}": one.digest
        for one in list_manifests(shell.home)
        if one.stage.startswith(("update_", "evaluate_"))
    }
