"""The server's process: garbage in its own thread, so that eight starters never stand still."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.servers.prefect_server import prefect_environment
from flows.servers.shared_server import start_prefect_server, stop
from tasks.storage.home import Home
from tests.databases import Databases
from tests.flows.test_apo import ask

STARTERS, TIMES = 8, 3
GARBAGE = """
import threading, time
from flows.servers.prefect_process import collect_aside

class Circle:
    def __init__(self):
        self.own = self
    def __del__(self):
        ended.append(threading.current_thread().name)

ended = []
collect_aside(pause=0.05)
until = time.monotonic() + 30
while len(set(ended)) < 1 and time.monotonic() < until:
    circles = [Circle() for _ in range(10_000)]  # enough for any collection by itself
    time.sleep(0.01)
print(*set(ended))
"""
STARTER = """
import sys
from prefect import flow, task
from tasks.stages.artifact import Artifact, external_artifact
from tasks.settings.base import FrozenConfig
from flows.runs.flow_call import call_flow

class Config(FrozenConfig):
    pass

@task
def step(number):
    return number

@flow(name="apo", persist_result=False)
def apo(config: Config) -> Artifact:
    for number in range(10):
        step(number)
    return external_artifact(__file__)

for number in range(int(sys.argv[1])):
    call_flow(apo, Config(), f"{sys.argv[2]}-{number}")
"""


def test_garbage_is_collected_in_a_thread_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["garbage"]


@pytest.mark.slow
def test_eight_starters_wait_for_nothing_and_leave_nothing(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = Home(tmp_path / "home").ensure()
    databases.copy("prefect", home.prefect)
    handle = start_prefect_server(home)
    try:
        program = tmp_path / "starter.py"
        program.write_text(STARTER)
        environment = {**os.environ, **prefect_environment(home, handle.url)}
        command = [sys.executable, str(program), str(TIMES)]
        starters = [
            subprocess.Popen([*command, str(number)], env=environment, cwd=tmp_path)
            for number in range(STARTERS)
        ]
        assert [one.wait(timeout=900) for one in starters] == [0] * STARTERS
    finally:
        stop(handle)
    runs = ask(home.prefect / "prefect.db", "select state_type, name from flow_run")
    wanted = [f"{one}-{number}" for one in range(STARTERS) for number in range(TIMES)]
    assert sorted(runs) == sorted(("COMPLETED", name) for name in wanted)
    tasks = ask(home.prefect / "prefect.db", "select state_type, count(*) from task_run group by 1")
    assert tasks == [("COMPLETED", 10 * STARTERS * TIMES)]
    # What waited for a minute would be told here.
    assert "database is locked" not in (home.prefect / "server.log").read_text()
