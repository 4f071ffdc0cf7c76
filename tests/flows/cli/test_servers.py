"""`sparring up` and `down` with real servers: about two minutes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.servers.service import answers, fetch_json
from tasks.processes.ports import free_port
from tasks.storage.files import read_json
from tasks.tracking.mlflow_record.connection import server_on_record
from tests.databases import Databases
from tests.flows.command import Shell, wait_until
from tests.flows.serving import (
    PROGRAM,
    RECORD,
    alive,
    ask,
    end_servers,
    post,
    python,
    require_own_names,
    runs_of,
    task_states,
)
from tests.servers.browser import browse

AT_WORK = """
import time
from tasks.stages.flow_run import open_run
with open_run('apo', config={}, config_text=''):
    print('at work', flush=True)
    time.sleep(600)
"""


@pytest.fixture
def shell(tmp_path: Path, databases: Databases) -> Iterator[Shell]:
    """A folder of its own."""
    shell = Shell(tmp_path)
    databases.copy("prefect", shell.home.prefect)
    databases.copy("mlflow", tmp_path / "mlruns")
    yield shell
    end_servers(shell)


def test_one_pair_is_kept_until_down_and_its_pages_show_the_records(
    shell: Shell, chromium: str, tmp_path: Path
) -> None:
    # Written without a server, as a run does that finds none.
    store = f"sqlite:///{shell.folder}/mlruns/mlflow.db"
    before = RECORD.replace("by-server", "by-file").replace("the server", "the file")
    place = (shell.folder / "mlruns" / "artifacts" / "by-file").as_uri()
    made = f"import mlflow; mlflow.create_experiment('by-file', artifact_location={place!r})\n"
    assert python(shell, made + before, MLFLOW_TRACKING_URI=store).wait() == 0

    three = [shell.start("up", "--json") for _ in range(3)]
    printed = [process.communicate(timeout=200) for process in three]
    assert [process.returncode for process in three] == [0, 0, 0], printed
    states = [json.loads(out) for out, _ in printed]
    assert states[0] == states[1] == states[2]
    state = states[0]
    assert state["mlflow_ui"] == f"mlflow ui --backend-store-uri {store}"
    assert len([line for line in alive(shell) if "prefect_process" in line]) == 1
    assert len([line for line in alive(shell) if "mlflow server" in line]) == 1
    assert server_on_record(shell.home.root) == state["mlflow"]

    require_own_names(state["prefect"], state["mlflow"])

    flow = post(f"{state['prefect']}/flows/", {"name": "placed-stage"})["id"]
    old = {"name": "gpu", "flow_id": flow, "entrypoint": "flows.placed_stage.placed_stage"}
    post(f"{state['prefect']}/deployments/", old)
    (note,) = shell.json("up")["notes"]
    assert note.startswith("placed-stage/gpu cannot be run: its entry point flows.placed_stage.")
    assert note.endswith("`prefect deployment delete placed-stage/gpu` mends it")

    variables = {**state["environment"], "PREFECT_HOME": str(shell.home.prefect)}
    assert python(shell, PROGRAM.replace("SECONDS", "0"), **variables).wait() == 0
    assert python(shell, RECORD, **variables).wait() == 0
    with browse(chromium, tmp_path) as browser:
        browser.open(state["prefect"].removesuffix("/api") + "/runs")
        assert "Completed" in browser.wait_for("tiny")
        browser.shot("up-prefect")
        for experiment, text in (("by-file", "the file"), ("by-server", "the server")):
            found = fetch_json(
                f"{state['mlflow']}/api/2.0/mlflow/experiments/get-by-name?experiment_name={experiment}",
                10.0,
            )["experiment"]
            browser.open(f"{state['mlflow']}/#/experiments/{found['experiment_id']}/runs")
            browser.wait_for("hello")
            run = runs_of(state["mlflow"], found["experiment_id"])[0]["info"]["run_id"]
            browser.open(
                f"{state['mlflow']}/#/experiments/{found['experiment_id']}/runs/{run}/artifacts/note.txt"
            )
            browser.wait_for(f"written through {text}")
            browser.shot(f"up-mlflow-{experiment}")

    assert shell("down").stdout == "stopped Prefect and MLflow\n"
    assert alive(shell) == []
    assert server_on_record(shell.home.root) is None
    assert shell("down").stdout == "no server was running\n"
    # What was written through the server holds without it.
    read = "import mlflow; run = mlflow.search_runs(experiment_names=['by-server']).iloc[0];"
    read += "assert mlflow.artifacts.load_text(run.artifact_uri + '/note.txt').endswith('server')"
    assert python(shell, read, MLFLOW_TRACKING_URI=store).wait() == 0


@pytest.mark.slow
def test_killed_servers_come_back_and_the_flow_goes_on(shell: Shell) -> None:
    state = shell.json("up")
    variables = {**state["environment"], "PREFECT_HOME": str(shell.home.prefect)}
    flow = python(shell, PROGRAM.replace("SECONDS", "4"), **variables)
    wait_until(lambda: len(ask(state["prefect"], "task_runs/filter")) >= 1, 60)
    records = read_json(shell.home.servers)
    for name in ("prefect", "mlflow"):
        os.kill(records[name]["pid"], signal.SIGKILL)
    assert flow.wait(timeout=120) == 0
    runs = ask(state["prefect"], "flow_runs/filter")
    assert [run["state_type"] for run in runs] == ["COMPLETED"]
    wait_until(lambda: task_states(state["prefect"]) == ["COMPLETED"] * 4, 30)
    wait_until(lambda: answers(f"{state['mlflow']}/health", 1.0), 60)
    again = read_json(shell.home.servers)
    assert all(again[name]["pid"] != records[name]["pid"] for name in ("prefect", "mlflow"))
    # The child of MLflow's that serves the pages did not hold the port against the new one.
    assert len([line for line in alive(shell) if "mlflow server" in line]) == 1
    shell("down")
    assert alive(shell) == []


def test_a_taken_port_and_a_server_elsewhere_are_said(shell: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = shell.refusal("up", "--mlflow-port", port)
        assert f"port {port} of 127.0.0.1 is taken" in said and "--mlflow-port" in said
    assert alive(shell) == []


def test_servers_that_the_environment_names_are_used(shell: Shell) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    said = shell.refusal("up", PREFECT_API_URL=f"{nowhere}/api")
    assert "PREFECT_API_URL" in said and "nothing answers" in said
    done = shell("up", "--json", MLFLOW_TRACKING_URI=nowhere)
    state = json.loads(done.stdout)
    assert state["mlflow"] == nowhere and "does not answer" in state["notes"][0]
    assert not [line for line in alive(shell) if "mlflow" in line]
    shell("down")


@pytest.mark.slow
def test_a_run_at_work_keeps_its_servers(shell: Shell) -> None:
    sleeper = subprocess.Popen(
        [sys.executable, "-c", AT_WORK],
        cwd=shell.folder,
        env={**os.environ, "SPARRING_HOME": str(shell.home.root)},
    )
    shell("up")
    wait_until(lambda: any(shell.home.runs.glob("*/run.json")), 60)
    said = shell.refusal("down")
    run = read_json(next(iter(shell.home.runs.glob("*/run.json"))))["id"]
    assert run in said and str(sleeper.pid) in said and "--force" in said
    assert shell("down", "--force").stdout == "stopped Prefect and MLflow\n"
    sleeper.send_signal(signal.SIGINT)
    sleeper.wait(timeout=30)
    time.sleep(0.1)
    assert alive(shell) == []
