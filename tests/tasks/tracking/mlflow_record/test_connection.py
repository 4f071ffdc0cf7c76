"""Where MLflow takes no records it is said, nothing is lost, and all is told once it does again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.stages.flow_run import open_run
from tasks.stages.runs.context import LoggingSink
from tasks.storage.home import Home
from tasks.tracking.mlflow_record import MlflowRecord, tracking_place
from tasks.tracking.mlflow_record.connection import DeletedExperimentError, tracking_problem
from tasks.tracking.mlflow_record.cursor import is_waiting
from tasks.tracking.spool import Spool
from tests.databases import Databases
from tests.tasks.tracking.mlflow_record import story
from tests.tasks.tracking.mlflow_record.checks import client_of, history


class Told(LoggingSink):
    """Keeps the notes about MLflow."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, title: str, text: str) -> None:
        """Keep it."""
        if title == "MLflow":
            self.notes.append(text)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_folder_that_cannot_be_written_is_said_and_all_is_told_once_it_can(
    home: Home, tmp_path: Path, databases: Databases
) -> None:
    mlruns, told = tmp_path / "mlruns", Told()
    mlruns.write_text("no folder")
    place = tracking_place(mlruns)
    assert tracking_problem(place, ["apo"]) == f"{mlruns} is no folder"
    with open_run(
        "apo", config={"seed": 1}, config_text="", home=home, mlruns=mlruns, progress=told
    ) as run:
        spool = run.spool
        assert spool is not None
        story.whole_stage(spool, "b")
    began, end = told.notes
    assert began.startswith("it takes no records now, they wait here: ") and str(mlruns) in began
    assert end.startswith(f"records of this run wait in {home.spool}") and str(mlruns) in end

    mlruns.unlink()
    databases.copy("mlflow", mlruns)
    assert tracking_problem(place, ["apo"]) == ""
    assert is_waiting(spool.folder)
    MlflowRecord(place).drain(home.spool)
    client = client_of(place)
    experiment = client.get_experiment_by_name("apo").experiment_id
    runs = client.search_runs([experiment])
    assert sorted(one.info.run_name for one in runs) == sorted([run.run_id, story.TITLES["b"]])
    assert {one.info.status for one in runs} == {"FINISHED"}


def test_records_of_a_deleted_experiment_wait_and_hold_up_no_others(
    tmp_path: Path, databases: Databases
) -> None:
    databases.copy("mlflow", tmp_path / "mlruns")
    place = tracking_place(tmp_path / "mlruns")
    spool = Spool(tmp_path / "spool", "a-1")
    spool.run_started(flow="apo", experiment="apo", params={"seed": 1})
    record, client = MlflowRecord(place), client_of(place)
    record.drain(tmp_path / "spool")
    experiment = client.get_experiment_by_name("apo").experiment_id
    client.delete_experiment(experiment)

    story.whole_stage(spool, "d")
    spool.run_finished("FINISHED", "completed")
    other = Spool(tmp_path / "spool", "b-1")
    other.run_started(flow="exo", experiment="exo", params={"seed": 1})
    other.run_finished("FINISHED", "completed")
    for one in (record, MlflowRecord(place)):
        with pytest.raises(DeletedExperimentError, match=f"restore --experiment-id {experiment}`"):
            one.drain(tmp_path / "spool")
    assert "'apo' was deleted" in tracking_problem(place, ["apo", "exo"])
    assert is_waiting(spool.folder) and not is_waiting(other.folder)

    client.restore_experiment(experiment)
    assert tracking_problem(place, ["apo", "exo"]) == ""
    record.drain(tmp_path / "spool")
    runs = {one.info.run_name: one for one in client.search_runs([experiment])}
    assert sorted(runs) == sorted(["a-1", story.TITLES["d"]])
    assert {one.info.status for one in runs.values()} == {"FINISHED"}
    assert len(history(place, runs[story.TITLES["d"]], "loss")) == story.STEPS
