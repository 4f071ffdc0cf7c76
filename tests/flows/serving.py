"""Programs that use the servers of a state folder, and what is left of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from typing import Any

import psutil

from tasks.processes.detached import is_alive
from tasks.storage.files import read_json
from tests.flows.command import Shell
from tests.flows.warm_start import WARM

PROGRAM = """
import os, time
from prefect import flow, task
@task
def step(number):
    time.sleep(SECONDS)
    return number
@flow(name="apo", flow_run_name="tiny")
def tiny():
    return sum(step(number) for number in range(4))
assert tiny() == 6
"""
FOREIGN = (
    {"Host": "evil.example.org"},
    {"Host": "10.evil.example.org"},
    {"Origin": "http://evil.example.org"},
    {"Host": "evil.example.org", "Origin": "http://evil.example.org"},
)
"""Headers of requests that pages of others have a browser send: by name (DNS rebinding), or not."""
RECORD = """
import sys, mlflow
mlflow.set_experiment("by-server")
with mlflow.start_run(run_name="hello"):
    mlflow.log_metric("loss", 0.25)
    mlflow.log_text("written through the server", "note.txt")
"""


def python(shell: Shell, program: str, **variables: str) -> Any:
    """Start a Python program in the shell's folder; it hears no signal."""
    return subprocess.Popen(
        [WARM.python(), "-c", program], cwd=shell.folder, env={**os.environ, **variables}
    )


def alive(shell: Shell) -> list[str]:
    """Return the command lines of what runs with this state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SPARRING_HOME") == str(shell.home.root):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return [line for line in found if line]


def ask(url: str, what: str) -> Any:
    """Return what Prefect answers to a search without conditions."""
    return post(f"{url}/{what}", {})


def task_states(url: str) -> list[str]:
    """Return the state types of Prefect's task runs."""
    return [run["state_type"] for run in ask(url, "task_runs/filter")]


def runs_of(url: str, experiment: str) -> list[dict[str, Any]]:
    """Return MLflow's runs of an experiment."""
    search = f"{url}/api/2.0/mlflow/runs/search"
    return post(search, {"experiment_ids": [experiment]})["runs"]


def code_of(url: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """Return the status with which a server answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def require_own_names(prefect: str, mlflow: str) -> None:
    """Find out that both servers answer a tunnel's end, and no page of others."""
    asked = {
        f"{prefect}/flows/filter": b"{}",
        f"{mlflow}/api/2.0/mlflow/experiments/search": b'{"max_results": 5}',
    }
    for url, query in asked.items():
        assert [code_of(url, foreign, query) for foreign in FOREIGN] == [403] * len(FOREIGN), url
        by_tunnel = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
        assert code_of(url, by_tunnel, query) == 200, url
    for way in ("..", "%2e%2e", "%252e%252e", "%23/.."):
        path = f"{mlflow}/api/2.0/mlflow-artifacts/artifacts/{'/'.join([way] * 9)}/etc/passwd"
        assert 400 <= code_of(path, {}) < 600, path


def end_servers(shell: Shell) -> None:
    """End whatever servers a failed test leaves."""
    records = read_json(shell.home.servers) if shell.home.servers.exists() else {}
    for name in ("supervisor", "prefect", "mlflow"):
        if is_alive(record := records.get(name, {})):
            tree = psutil.Process(record["pid"])
            for process in (*tree.children(recursive=True), tree):
                process.kill()


def post(url: str, query: dict[str, Any]) -> Any:
    """Send JSON to a server and return its answer."""
    body = json.dumps(query).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())
