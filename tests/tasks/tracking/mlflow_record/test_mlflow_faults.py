"""Everything is logged once: by killed processes, to a server that is away, from other homes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.tracking.mlflow_record import MlflowRecord, TrackingPlace, tracking_place
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.mlflow_record.helper_events import pull_leftovers, push_leftovers
from tasks.tracking.remote.folder import FolderRemote
from tasks.tracking.spool import Spool
from tests.databases import Databases
from tests.servers.tracking_server import MlflowServer
from tests.tasks.tracking.mlflow_record import story
from tests.tasks.tracking.mlflow_record.checks import check_story, client_of, history
from tests.tasks.tracking.mlflow_record.story import TITLES, key

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_once_whoever_is_killed(server_place: TrackingPlace, tmp_path: Path) -> None:
    """Who logs is killed after every few of its changes; in the end all is there once."""
    import mlflow.tracking  # noqa: F401

    spool = Spool(tmp_path / "spool", "kills-1")
    spool.run_started(flow="kills", experiment="kills", params={"seed": 1})
    for stage in ("b", "d"):
        story.whole_stage(spool, stage)
    spool.alias_moved("kills", "champion", {"policy": key("d")})
    spool.run_finished("FINISHED", "completed")
    kills = 0
    for number in range(1, 400, 2):
        code = _drain_and_die(server_place, tmp_path / "spool", number)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 10
    client = client_of(server_place)
    experiment = client.get_experiment_by_name("kills").experiment_id
    runs = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == sorted(
        ["kills-1", TITLES["b"], TITLES["d"]]
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    named = {run.info.run_name: run for run in runs}
    assert len(history(server_place, named[TITLES["d"]], "loss")) == story.STEPS
    versions = client.search_model_versions("name = 'kills-policy'")
    assert {item.tags["sparring.stage"] for item in versions} == {key("b"), key("d")}
    assert len(versions) == 2


def _drain_and_die(place: TrackingPlace, spool: Path, number: int) -> int:
    """Log in a child that is killed after its N-th change; return how the child ended."""
    import requests

    pid = os.fork()
    if pid == 0:
        code, changes, send = 1, [0], requests.Session.request

        def count(self: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
            answer = send(self, method, url, *args, **options)
            changes[0] += method != "GET" and not url.endswith("search")
            if changes[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        try:
            requests.Session.request = count  # type: ignore[method-assign]
            MlflowRecord(place).drain(spool)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_server_that_is_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    """Stages do not notice; afterwards everything is there once."""
    databases.copy("mlflow", tmp_path / "mlflow")
    with MlflowServer(tmp_path / "mlflow") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        spool = Spool(tmp_path / "home" / "spool", "apo-1")
        recorder = Recorder(spool, tmp_path / "mlruns")
        recorder.start()
        story.begin_run(spool)
        for stage in "abc":
            story.whole_stage(spool, stage)
        story.begin(spool, "d")
        story.metrics(spool, "d", range(2))
        time.sleep(5)
        server.kill()
        began = time.monotonic()
        story.metrics(spool, "d", range(2, story.STEPS))
        story.end(spool, "d")
        for stage in "ef":
            story.whole_stage(spool, stage)
        spool.run_finished("FINISHED", "completed")
        assert time.monotonic() - began < 0.5
        time.sleep(5)
        server.start()
        assert recorder.close(timeout=60)
        check_story(tracking_place(tmp_path / "mlruns"))


def test_what_a_helper_could_not_log(server_place: TrackingPlace, tmp_path: Path) -> None:
    """It reaches MLflow by way of the remote, under the one run of the flow, and only once."""
    (tmp_path / "remote").mkdir()
    remote = FolderRemote(tmp_path / "remote")
    helper, own = (Spool(tmp_path / name / "spool", "help-1") for name in ("helper", "own"))
    story.begin(helper, "d")
    story.metrics(helper, "d")
    story.end(helper, "d")
    record = MlflowRecord(server_place)
    assert record.drain(tmp_path / "helper" / "spool") == 0  # its flow is not known yet
    assert push_leftovers(remote, tmp_path / "helper" / "spool", "help-1") == 1
    recorder = Recorder(own, tmp_path / "mlruns", remote=remote)
    recorder.start()
    own.run_started(flow="help", experiment="help", params={})
    story.whole_stage(own, "b")
    own.run_finished("FINISHED", "completed")
    assert recorder.close()
    assert remote.names("spool/") == []
    assert pull_leftovers(remote, tmp_path / "own" / "spool", "help-1") == []
    assert record.drain(tmp_path / "helper" / "spool") == story.STEPS + 3  # logged again
    client = client_of(server_place)
    experiment = client.get_experiment_by_name("help").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"help-1", TITLES["b"], TITLES["d"]}
    assert runs[TITLES["d"]].data.tags["mlflow.parentRunId"] == runs["help-1"].info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(history(server_place, runs[TITLES["d"]], "loss")) == story.STEPS
