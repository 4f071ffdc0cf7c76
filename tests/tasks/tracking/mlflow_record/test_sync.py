"""Everything is logged once, whoever is killed in between."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.storage import faults
from tasks.tracking.mlflow_record import MlflowRecord, connection, run_writer, tracking_place
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.mlflow_record.notes import add_to_note
from tasks.tracking.mlflow_record.registry_client import RegistryClient
from tasks.tracking.mlflow_record.tags import NOTE_TAG, USER_TAG, Page
from tasks.tracking.spool import Spool, read_segments
from tests.databases import Databases
from tests.tasks.tracking.mlflow_record import story


@pytest.fixture
def place(tmp_path: Path, databases: Databases) -> Any:
    """MLflow's database and artifacts in a folder of this test."""
    databases.copy("mlflow", tmp_path / "mlruns")
    return tracking_place(tmp_path / "mlruns")


def _runs(place: Any) -> dict[str, Any]:
    """All MLflow runs by name."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(place.uri)
    experiments = [item.experiment_id for item in client.search_experiments()]
    runs = client.search_runs(experiments)
    named = {run.data.tags["mlflow.runName"]: run for run in runs}
    assert len(named) == len(runs), "a run was made twice"
    return named


def _history(place: Any, run: Any, metric: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    points = MlflowClient(place.uri).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in points)


def _in_child(work: Callable[[], Any], fault: str = "") -> int:
    """Run a function in a forked process and return its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ["SPARRING_FAULT"] = fault
            faults._count = 0
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _spool_a_run(spool: Spool) -> None:
    spool.run_started(flow="apo", experiment="apo", params={"seed": 1, "policy": {"lr": 0.1}})
    spool.stage_started(
        "k" * 64, name="sft · epoch 1", attempt=1, params={"lr": 0.1, "long": "x" * 20_000},
        tags={"sparring.input.policy": "d1"},
    )  # fmt: skip
    for step in range(5):
        spool.metrics("k" * 64, {"loss": 1.0 / (step + 1), "odd·name": 1}, step=step, attempt=1)
    spool.metrics("k" * 64, {"accuracy": 0.5, "loss": 0.4}, step=None, attempt=1)


def test_a_run_as_mlflow_shows_it(tmp_path: Path, place: Any) -> None:
    spool = Spool(tmp_path / "spool", "apo-1")
    _spool_a_run(spool)
    spool.stage_skipped("j" * 64, name="prepare_data")
    (tmp_path / "report.md").write_text("# who won")
    spool.files("k" * 64, [tmp_path / "report.md", tmp_path / "gone.png"])
    spool.stage_finished("k" * 64, "FINISHED", tags={"sparring.output.output": "d2"})
    spool.run_finished("FINISHED", "completed")
    record = MlflowRecord(place)
    assert record.drain(tmp_path / "spool") == 12
    assert record.drain(tmp_path / "spool") == 0
    runs = _runs(place)
    parent, stage = runs["apo-1"], runs["sft · epoch 1"]
    assert parent.info.status == stage.info.status == "FINISHED"
    assert stage.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.tags["sparring.done_before"] == "1"
    assert stage.data.tags["sparring.input.policy"] == "d1"
    assert stage.data.tags["sparring.output.output"] == "d2"
    assert parent.data.params == {"seed": "1", "policy.lr": "0.1"}
    assert stage.data.params["long"].startswith("x" * 500 + "… sha256:")
    assert stage.data.metrics == {
        "loss": 0.2, "odd_name": 1.0, "accuracy": 0.5, "final/loss": 0.4,
    }  # fmt: skip
    assert [step for step, _ in _history(place, stage, "loss")] == [0, 1, 2, 3, 4]
    files = tmp_path / "mlruns" / "artifacts"
    assert len(list(files.glob("apo/*/artifacts/config.json"))) == 2
    (kept,) = files.glob("apo/*/artifacts/output/*")
    assert kept.read_text() == "# who won" and stage.info.run_id in str(kept)
    assert '"' + "x" * 20_000 + '"' in "".join(
        path.read_text() for path in files.glob("apo/*/artifacts/config.json")
    )
    from mlflow.tracking import MlflowClient

    experiment = MlflowClient(place.uri).get_experiment_by_name("apo")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_once_across_kills(tmp_path: Path, place: Any) -> None:
    """Who logs is killed at each durable operation in turn, the run's process once in between."""
    root = tmp_path / "spool"
    # Only children open the database: an open one must not cross a fork.
    import mlflow.tracking  # noqa: F401

    assert _in_child(lambda: MlflowRecord(place)) == 0
    _spool_a_run(Spool(root, "apo-1"))
    number, kills = 0, 0
    while True:
        number += 1
        code = _in_child(lambda: MlflowRecord(place).drain(root), f"kill@{number}")
        if number == 2:  # a second attempt resumes at step 3 while the first is not all logged
            spool = Spool(root, "apo-1")
            spool.stage_started("k" * 64, name="sft · epoch 1", attempt=2, params={}, tags={})
            for step in range(3, 8):
                spool.metrics("k" * 64, {"loss": 1.0 / (step + 1)}, step=step, attempt=2)
            spool.stage_finished("k" * 64, "FINISHED", tags={})
            spool.run_finished("FINISHED", "completed")
        if code == 0 and number > 2:
            break
        kills += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL)
    assert kills >= 3
    runs = _runs(place)
    assert set(runs) == {"apo-1", "sft · epoch 1"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert _history(place, runs["sft · epoch 1"], "loss") == [
        (step, 1.0 / (step + 1)) for step in range(8)
    ]
    assert len(_history(place, runs["sft · epoch 1"], "accuracy")) == 1


def test_a_fresh_database_under_many_starts(tmp_path: Path, place: Any) -> None:
    import mlflow.tracking  # noqa: F401

    threads = [
        threading.Thread(target=lambda: codes.append(_in_child(lambda: MlflowRecord(place))))
        for _ in range(4)
    ]
    codes: list[int] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 4


def test_a_kill_while_the_database_is_made_leaves_none(tmp_path: Path) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    program = (
        "from pathlib import Path; import tasks.tracking.mlflow_record as record; "
        "record.MlflowRecord(record.tracking_place(Path('mlruns')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        # Two durable operations make the folder; the fourth gives the database its name.
        env={**os.environ, "SPARRING_FAULT": "kill@4", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL and "INFO" not in done.stderr, done.stderr
    assert database.with_name("mlflow.db.making").stat().st_size > 0 and not database.exists()


def test_a_database_that_was_cut_off_while_it_was_made_is_replaced(
    tmp_path: Path,
    place: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _spool_a_run(Spool(tmp_path / "spool", "apo-1"))
    database = tmp_path / "mlruns" / "mlflow.db"
    whole = database.read_bytes()
    with closing(sqlite3.connect(database)) as half:
        half.execute("DELETE FROM experiments")
        half.execute("DROP TABLE model_versions")
        half.commit()
    broken = database.read_bytes()

    made = connection.make_beside
    # To make a new one takes seconds; a copy is as good.
    monkeypatch.setattr(
        connection, "make_beside", lambda path, _: made(path, lambda new: new.write_bytes(whole))
    )
    MlflowRecord(place).drain(tmp_path / "spool")
    assert "mlflow's database was damaged" in caplog.text
    (aside,) = database.parent.glob("mlflow.db.damaged-*")
    assert aside.read_bytes() == broken
    assert set(_runs(place)) == {"apo-1", "sft · epoch 1"}


def test_a_copied_project_writes_into_its_own_files(tmp_path: Path, place: Any) -> None:
    from mlflow.artifacts import load_text

    root = tmp_path / "spool"
    _spool_a_run(Spool(root, "apo-1"))
    # Each in a process of its own: MLflow remembers where a run's files go.
    assert _in_child(lambda: MlflowRecord(place).drain(root)) == 0
    shutil.copytree(tmp_path, tmp_path / "copy" / "inside")
    before = sorted((tmp_path / "mlruns" / "artifacts").rglob("*"))
    copied = tracking_place(tmp_path / "copy" / "inside" / "mlruns")
    spool = Spool(tmp_path / "copy" / "inside" / "spool", "apo-1")
    (tmp_path / "report.md").write_text("# who won")
    spool.files("k" * 64, [tmp_path / "report.md"])
    assert _in_child(lambda: MlflowRecord(copied).drain(spool.folder.parent)) == 0
    for run in _runs(copied).values():
        assert run.info.artifact_uri.startswith(f"{copied.artifacts}/apo/")
        assert load_text(f"{run.info.artifact_uri}/config.json")
    assert len(list(tmp_path.glob("copy/inside/mlruns/artifacts/apo/*/artifacts/output/*"))) == 1
    assert sorted((tmp_path / "mlruns" / "artifacts").rglob("*")) == before
    for run in _runs(place).values():
        assert run.info.artifact_uri.startswith(f"{place.artifacts}/apo/"), "it is as it was"


def test_the_recorder_imports_nothing_without_news(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "apo-1")
    recorder = Recorder(spool, tmp_path / "mlruns")
    recorder.start()
    spool.run_started(flow="apo", experiment="apo", params={})
    spool.run_finished("FINISHED", "completed")
    assert recorder.close()
    assert not (tmp_path / "mlruns").exists()


def test_mlflow_down_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end comes without an error, and the next recorder logs what was left."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spool = Spool(tmp_path / "spool", "apo-1")
    recorder = Recorder(spool, tmp_path / "mlruns")
    recorder.start()
    _spool_a_run(spool)
    spool.run_finished("FINISHED", "completed")
    assert not recorder.close()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    later = Recorder(Spool(tmp_path / "spool", "apo-2"), tmp_path / "mlruns")
    later.start()
    assert later.close()
    assert "sft · epoch 1" in _runs(tracking_place(tmp_path / "mlruns"))
    (segment,) = read_segments(tmp_path / "spool" / "apo-1")
    assert len(segment.events) == 9


def test_a_run_that_ends_and_is_used_is_written_once(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[tuple[str, set[str]]] = []
    add = run_writer.add_to_note

    def counted(registry: Any, run: str, added: dict[str, str]) -> None:
        noted.append((run, {name for name in added if name.startswith(USER_TAG)}))
        add(registry, run, added)

    monkeypatch.setattr(run_writer, "add_to_note", counted)
    story.spool_all(Spool(tmp_path / "spool", "apo-1"), tmp_path)
    MlflowRecord(place).drain(tmp_path / "spool")
    assert max(len(users) for _, users in noted) > 1
    runs = [run for run, _ in noted]
    assert len(runs) == len(set(runs))
    made = [run for run in _runs(place).values() if any(USER_TAG in t for t in run.data.tags)]
    assert {run.info.run_id for run in made} == {run for run, users in noted if users}


def test_a_tag_that_another_process_added_meanwhile_is_in_the_note(
    place: Any, tmp_path: Path
) -> None:
    """Both remember the run's tags; each looks again after it wrote."""
    story.spool_all(Spool(tmp_path / "spool", "apo-1"), tmp_path)
    MlflowRecord(place).drain(tmp_path / "spool")
    run = next(iter(_runs(place).values())).info.run_id
    ours, theirs = RegistryClient(place), RegistryClient(place)
    for number, registry in enumerate((ours, theirs, ours, theirs)):
        page = Page(f"user {number}", f"#/experiments/1/runs/{number}")
        add_to_note(registry, run, {f"{USER_TAG}{number}": str(page)})
    note = ours.client.get_run(run).data.tags[NOTE_TAG]
    assert all(f"user {number}" in note for number in range(4))
