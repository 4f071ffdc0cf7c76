"""Runs killed with SIGKILL, against a real Prefect server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from flows.servers.dead_runs import AUTOMATION, ensure_automation, reconcile_prefect
from tasks.stages.runs.run_store import list_runs, load_run, save_status
from tasks.storage.home import Home
from tests.databases import Databases
from tests.flows.command import wait_until

Server = tuple[Home, str]
"""A state folder and the address of its Prefect server."""
RUN = """
import sys, time
from rich.console import Console
from flows.runs.console import quiet_libraries
from flows.runs.runner import prefect_server
from tasks.stages.runs.run_store import save_prefect_run
from tasks.stages.flow_run import open_run
from tasks.storage.home import current_home

quiet_libraries()
home = current_home().ensure()
with prefect_server(home, Console()):
    from prefect import flow, task
    from prefect.context import FlowRunContext
    resume = sys.argv[1] if len(sys.argv) > 1 else None
    with open_run("apo", config={}, config_text="", resume=resume) as run:
        @task(tags=["gpu"])
        def step():
            time.sleep(600)
        @flow(name="apo", flow_run_name=run.run_id)
        def apo():
            save_prefect_run(home, run.run_id, str(FlowRunContext.get().flow_run.id))
            step()
        apo()
"""


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Server]:
    """A Prefect server that this process uses; its settings are those of a run."""
    from prefect.context import refresh_global_settings_context

    from flows.runs.runner import prefect_server

    home = Home(tmp_path_factory.mktemp("dead") / "home").ensure()
    databases.copy("prefect", home.prefect)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"):
            patch.setenv(name, "30")  # so that the old values come back
        patch.delenv("PREFECT_API_URL")
        patch.setenv("SPARRING_HOME", str(home.root))
        with prefect_server(home, Console()) as url:
            yield home, url
    refresh_global_settings_context()


@pytest.fixture
def home(_server: Server) -> Home:
    """The state folder of the file's server, with no run in it."""
    shutil.rmtree(_server[0].runs, ignore_errors=True)
    return _server[0].ensure()


@pytest.fixture
def server(_server: Server) -> str:
    """The address of the file's server, with no flow run on it."""
    url = _server[1]
    for run in ask(url, "flow_runs/filter"):
        delete(url, run["id"])
    return url


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, *words])


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


def ask(url: str, what: str, query: dict[str, Any] | None = None) -> Any:
    body = json.dumps(query or {}).encode()
    request = urllib.request.Request(f"{url}/{what}", body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            # What Prefect says while its database is busy with its own start.
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def delete(url: str, flow_run: str) -> None:
    request = urllib.request.Request(f"{url}/flow_runs/{flow_run}", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


def states(url: str, what: str) -> list[str]:
    return sorted(run["state_type"] for run in ask(url, f"{what}/filter"))


def at_work(url: str, flow_runs: int = 1) -> bool:
    tasks = states(url, "task_runs")
    return len(tasks) == flow_runs and "RUNNING" in tasks


def test_a_killed_run_and_its_tasks_are_crashed_and_free_their_slot(
    home: Home, server: str
) -> None:
    ask(server, "concurrency_limits/", {"tag": "gpu", "concurrency_limit": 1})
    first = start()
    wait_until(lambda: at_work(server), 60)
    assert reconcile_prefect(home) == [], "it lives"
    assert states(server, "flow_runs") == ["RUNNING"]
    kill(first)
    run = list_runs(home)[0]
    assert reconcile_prefect(home) == [run.id]
    assert (states(server, "flow_runs"), states(server, "task_runs")) == (["CRASHED"], ["CRASHED"])
    told = ask(server, "flow_runs/filter")[0]["state"]["message"]
    assert f"sparring resume {run.id}" in told
    assert load_run(home, run.id).status == "crashed"
    assert reconcile_prefect(home) == []

    # The next attempt gets the slot, and the dead one is not mistaken for it.
    second = start(run.id)
    wait_until(lambda: at_work(server, 2), 60)
    assert reconcile_prefect(home) == []
    kill(second)
    third = start(run.id)  # closes the second itself, as any command that uses the server does
    wait_until(lambda: at_work(server, 3), 60)
    assert states(server, "flow_runs") == ["CRASHED", "CRASHED", "RUNNING"]
    assert states(server, "task_runs") == ["CRASHED", "CRASHED", "RUNNING"]
    kill(third)
    reconcile_prefect(home)


def test_what_is_not_ours_or_gone_is_left_alone(home: Home, server: str) -> None:
    dead = start()
    wait_until(lambda: at_work(server), 60)
    kill(dead)
    run = list_runs(home)[0]
    elsewhere = Home(home.root.parent / "elsewhere").ensure()
    assert reconcile_prefect(elsewhere) == []
    assert states(server, "flow_runs") == ["RUNNING"]
    delete(server, ask(server, "flow_runs/filter")[0]["id"])
    assert reconcile_prefect(home) == []
    assert load_run(home, run.id).status == "crashed"
    save_status(home, run.id, "failed")


def test_the_automation_is_made_once_and_repaired(home: Home, server: str) -> None:
    def found() -> list[dict[str, Any]]:
        return [one for one in ask(server, "automations/filter") if one["name"] == AUTOMATION]

    first = found()
    assert len(first) == 1 and first[0]["enabled"]
    ensure_automation()
    assert found() == first, "not even updated"
    trigger = first[0]["trigger"]
    assert (trigger["within"], trigger["posture"]) == (90.0, "Proactive")
    fields = {name: first[0][name] for name in ("name", "description", "enabled", "trigger")}
    body = json.dumps({**fields, "actions": [{"type": "do-nothing"}]}).encode()
    url = f"{server}/automations/{first[0]['id']}"
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")).close()
    ensure_automation()
    assert found()[0]["actions"] == first[0]["actions"]


@pytest.mark.slow
def test_the_server_finds_a_silent_run_by_itself(home: Home, server: str) -> None:
    dead = start()
    wait_until(lambda: at_work(server), 60)
    kill(dead)
    wait_until(lambda: states(server, "flow_runs") == ["CRASHED"], 130)
    assert "no sign of life" in ask(server, "flow_runs/filter")[0]["state"]["message"]
    reconcile_prefect(home)


def test_a_task_whose_flow_run_ended_without_it_is_closed(
    home: Home, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = {"type": "RUNNING"}
    flow = ask(server, "flows/", {"name": "placed-stage"})["id"]
    run = ask(server, "flow_runs/", {"flow_id": flow, "state": running})["id"]
    task = {"flow_run_id": run, "task_key": "step", "dynamic_key": "0", "state": running}
    ask(server, "task_runs/", task)
    ask(server, f"flow_runs/{run}/set_state", {"state": {"type": "CRASHED"}, "force": True})
    reconcile_prefect(home)
    # It ended just now: how its task ended may be on its way to the server.
    assert states(server, "task_runs") == ["RUNNING"]
    monkeypatch.setattr("flows.servers.dead_runs._SETTLED", timedelta(0))
    reconcile_prefect(home)
    assert states(server, "task_runs") == ["CRASHED"]


def test_a_flow_run_whose_worker_died_before_it_began_is_closed(
    home: Home, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = ask(server, "flows/", {"name": "apo"})["id"]
    other = ask(server, "flows/", {"name": "somebody-elses"})["id"]
    taken = {"type": "PENDING", "name": "Submitting"}
    for whose in (flow, other):
        ask(server, "flow_runs/", {"flow_id": whose, "state": taken})
    reconcile_prefect(home)
    # It was taken just now: its process may be starting.
    assert states(server, "flow_runs") == ["PENDING", "PENDING"]
    monkeypatch.setattr("flows.servers.dead_runs._BEGINS_WITHIN", timedelta(0))
    reconcile_prefect(home)
    runs = {one["flow_id"]: one["state"] for one in ask(server, "flow_runs/filter")}
    assert (runs[flow]["type"], runs[other]["type"]) == ("CRASHED", "PENDING")
    assert "the worker died meanwhile" in runs[flow]["message"]
