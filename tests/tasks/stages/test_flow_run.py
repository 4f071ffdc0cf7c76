"""Flow runs: how they begin, end, are killed, and go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import StageError
from tasks.stages.flow_run import open_run
from tasks.stages.runs.reconciling import reconcile_runs
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import list_runs, load_run
from tasks.storage.home import Home
from tasks.storage.sealed import read_sealed_text


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's folder is that of this test."""
    monkeypatch.chdir(tmp_path)


def _open(**arguments: Any) -> Any:
    return open_run("toy", config={"seed": 1}, config_text="seed: 1\n", **arguments)


def _mlflow() -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    experiments = [item.experiment_id for item in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len({run.data.tags["mlflow.runName"] for run in runs}) == len(runs)
    return {run.data.tags["mlflow.runName"]: run for run in runs}


def test_a_run_and_its_records(toy: Any, home: Home) -> None:
    with _open(config_path="toy.yaml") as run:
        result = toy.flow()
        assert load_run(home, run.run_id).status == "running"
        with (
            pytest.raises(StageError, match="is still running in process"),
            _open(resume=run.run_id),
        ):
            pass
    assert [record.state for record in run.records] == ["completed"] * 3
    (known,) = list_runs(home)
    assert (known.flow, known.status, known.config_path) == ("toy", "completed", "toy.yaml")
    assert read_sealed_text(home.runs / known.id / "config.yaml") == "seed: 1\n"
    events = stage_events(home, known.id)
    assert [event["event"] for event in events] == ["started", "finished"] * 3
    assert events[-1]["digest"] == result.digest
    runs = _mlflow()
    assert set(runs) == {known.id, "shard · first", "shard · second", "join"}
    assert {item.info.status for item in runs.values()} == {"FINISHED"}
    assert runs["join"].data.tags["sparring.input.shards.0"].endswith(".dir")
    assert runs["shard · first"].data.params["shards"] == "2"
    assert runs["shard · first"].data.metrics == {"done": 2.0, "shards": 2.0}


def test_a_cached_run_leaves_mlflow_alone(toy: Any, home: Home, child: Any) -> None:
    with _open():
        toy.flow()

    def again() -> set[str]:
        import sys

        for name in [name for name in sys.modules if name.split(".")[0] in ("mlflow", "dvc")]:
            del sys.modules[name]
        with _open() as run:
            toy.flow()
        assert [record.state for record in run.records] == ["cached"] * 3
        return {"mlflow", "dvc", "torch"} & set(sys.modules) - before

    import sys

    before = {"torch"} & set(sys.modules)
    assert child(again).wait() == (0, "set()")


def test_failed_and_interrupted(toy: Any, home: Home) -> None:
    with pytest.raises(ValueError, match="no"), _open():
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), _open():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), _open():
        os.kill(os.getpid(), signal.SIGTERM)
    assert sorted(run.status for run in list_runs(home)) == ["failed", "interrupted", "interrupted"]


def test_a_killed_run_goes_on(toy: Any, home: Home, child: Any, wait_until: Any) -> None:
    """It is found out, told as killed, and continued under the same MLflow runs."""
    import mlflow.tracking  # noqa: F401

    def work() -> str:
        with _open():
            toy.flow()
            toy.shard(_source(toy), config=toy.config(seconds=30), seed=3, label="long")
        return ""

    process = child(work)
    wait_until(lambda: toy.started().count("shard") == 3)
    process.send(signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
    killed = load_run(home, "latest")
    assert killed.status == "crashed"

    def look() -> str:
        with _open():  # another run drains what the killed one left
            toy.shard(_source(toy), config=toy.config(), seed=4)
        return ",".join(sorted(f"{name}:{run.info.status}" for name, run in _mlflow().items()))

    code, answer = child(look).wait()
    assert code == 0, answer
    assert f"{killed.id}:KILLED" in answer and "shard · long:KILLED" in answer
    assert "RUNNING" not in answer and "join:FINISHED" in answer
    assert load_run(home, killed.id).status == "crashed" and not reconcile_runs(home)

    def resume() -> str:
        with _open(resume=killed.id) as run:
            toy.flow()
            toy.shard(_source(toy), config=toy.config(seconds=30), seed=3, label="long")
        assert [item.state for item in run.records] == ["cached"] * 3 + ["completed"]
        runs = _mlflow()
        return f"{runs[killed.id].info.status} {runs['join'].info.status}"

    assert child(resume, TOY_SECONDS="0").wait() == (0, "FINISHED FINISHED")
    assert load_run(home, killed.id).status == "completed"


def _source(toy: Any) -> Any:
    from tasks.stages.artifact import external_artifact

    return external_artifact(toy.source)
