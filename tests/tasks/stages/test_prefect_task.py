"""Inside a Prefect flow a stage call is a task run that tells the truth."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.stages import prefect_task
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.prefect_task import is_transient, stage_task
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import current_home

calls: list[str] = []


@stage_task(version=1)
def flaky(source: Artifact, *, workspace: Any, log: Any) -> dict[str, float]:
    """Fails twice in a way that passes."""
    calls.append("flaky")
    if calls.count("flaky") < 3:
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    (workspace.output / "a").write_text("1")
    log.progress(1, 1, "things")
    return {}


@stage_task(version=1)
def join(source: Artifact, others: list[Artifact], *, workspace: Any) -> dict[str, float]:
    """Reads what others made."""
    (workspace.output / "a").write_text("1")
    return {}


@stage_task(version=1, resources="gpu")
def full(source: Artifact, *, workspace: Any) -> dict[str, float]:
    """Fails in a way that stays."""
    calls.append("full")
    raise OSError(errno.ENOSPC, "no space")


@stage_task(version=1)
def wrong(source: Artifact, *, workspace: Any) -> dict[str, float]:
    """Fails by a mistake."""
    calls.append("wrong")
    raise ValueError("a mistake")


@pytest.fixture
def prefect_api() -> Iterator[None]:
    """A throw-away Prefect server."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


def _task_runs() -> dict[str, Any]:
    """All task runs by name, once they are all in a terminal state."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for _ in range(100):
            runs = client.read_task_runs(limit=100)
            if len(runs) == 6 and all(run.state and run.state.is_final() for run in runs):
                break
            time.sleep(0.2)
        return {run.name: run for run in runs}


@pytest.mark.slow
def test_states(toy: Any, prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow

    monkeypatch.setattr(prefect_task, "_RETRY_SECONDS", [0, 0, 0])
    calls.clear()

    @flow
    def work() -> dict[str, Any]:
        source = external_artifact(toy.source)
        first = flaky(source, label="epoch 1")
        assert flaky(source, label="epoch 2 {x}").digest == first.digest
        for stage, error in ((full, OSError), (wrong, ValueError)):
            with pytest.raises(error):
                stage(source)
        with entered(RunContext(current_home(), mode="plan")) as run:
            wrong(source, label="only planned")
        assert len(run.planned) == 1
        second = toy.shard(source, config=toy.config(), seed=1)
        join(first, [second, source], label="of both")
        return first.to_json()

    with entered(RunContext(current_home())):
        assert work()["stage"] == "flaky"
    assert calls == ["flaky"] * 3 + ["full", "wrong"]
    runs = _task_runs()
    seen = {
        name: (run.state.name, run.state.type.value, run.run_count) for name, run in runs.items()
    }
    assert seen == {
        "flaky · epoch 1": ("Completed", "COMPLETED", 3),
        "flaky · epoch 2 (x)": ("Cached", "COMPLETED", 1),
        "full": ("Failed", "FAILED", 1),
        "wrong": ("Failed", "FAILED", 1),
        "shard": ("Completed", "COMPLETED", 1),
        "join · of both": ("Completed", "COMPLETED", 1),
    }
    assert runs["full"].tags == ["gpu"]
    after = {name: {str(one.id) for one in run.task_inputs["inputs"]} for name, run in runs.items()}
    assert after == {name: set() for name in after} | {
        "join · of both": {str(runs["flaky · epoch 1"].id), str(runs["shard"].id)}
    }, "an edge from each stage whose output goes in"


def test_what_may_be_tried_again() -> None:
    assert is_transient(ConnectionResetError(errno.ECONNRESET, "x"))
    assert is_transient(TimeoutError("x")) and is_transient(OSError(errno.ESTALE, "x"))
    for error in (
        OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), FileNotFoundError("x"),
        PermissionError("x"), ValueError("x"), KeyboardInterrupt(), MemoryError(),
    ):  # fmt: skip
        assert not is_transient(error), error


def test_a_stage_looks_like_its_function() -> None:
    assert flaky.__name__ == "flaky" and flaky.__doc__ == "Fails twice in a way that passes."
    assert (full.spec.name, full.spec.version, full.spec.resources) == ("full", 1, "gpu")
    assert "PREFECT_API_URL" not in os.environ
