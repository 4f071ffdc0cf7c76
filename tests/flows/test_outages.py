"""Servers that are down, or answer with errors, while a run goes on: nothing is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tasks.processes.detached import terminate
from tasks.processes.ports import free_port
from tasks.stages.manifest import list_manifests
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell, wait_until
from tests.servers.swift import SwiftServer

DOWN_SECONDS = 120.0
FAULT_PERCENT = 20.0


@pytest.mark.slow
@pytest.mark.real
def test_a_run_outlives_its_servers_and_its_records_are_complete(
    tmp_path: Path, object_store: SwiftServer
) -> None:
    reference = Shell(tmp_path / "reference")
    reference.folder.mkdir()
    reference("run", "apo", "-c", str(SMALL))
    shell = Shell(tmp_path / "outage")
    shell.folder.mkdir()
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    remote = f"s3://{object_store.bucket()}/team"
    object_store.switch(fault_percent=FAULT_PERCENT)
    mlflow = start_mlflow(tmp_path, port)
    try:
        process = shell.start(
            "run", "apo", "-c", str(SMALL),
            **{**object_store.environment, "SPARRING_REMOTE": remote, "MLFLOW_TRACKING_URI": uri},
        )  # fmt: skip
        wait_until(lambda: len(shell.events()) >= 8)
        terminate(mlflow.pid)
        before = len(shell.events())
        time.sleep(DOWN_SECONDS)
        meanwhile = len(shell.events()) - before
        mlflow = start_mlflow(tmp_path, port)
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, f"{out[-2000:]}\n{err[-3000:]}"
        assert meanwhile > 0, "the work went on without MLflow"
        object_store.switch()
        assert shell.finished_keys() == reference.finished_keys()
        faults = check_records(shell, uri)
    finally:
        object_store.switch()
        terminate(mlflow.pid)
    names = [line.split(" ")[1] for line in object_store.requests()]
    published = [name for name in names if "/manifests/" in name]
    assert published
    print(f"\n{meanwhile} stage events while MLflow was down for {DOWN_SECONDS:.0f} s; "
          f"{len(object_store.requests())} requests of which {FAULT_PERCENT:.0f} % failed; "
          f"{faults}")  # fmt: skip


def start_mlflow(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a user's own MLflow server and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "mlflow.log", "ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(answers, 120)
    return server


def check_records(shell: Shell, uri: str) -> str:
    """Compare MLflow with the manifests: every stage once, every figure, each step once."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    ids = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(ids, max_results=1000)
    (run,) = list_runs(shell.home)
    by_stage = Counter(one.data.tags["sparring.stage"] for one in runs)
    executed = {e["key"] for e in stage_events(shell.home, run.id) if e["event"] == "started"}
    assert by_stage == Counter([*executed, ""])
    assert {one.info.status for one in runs} == {"FINISHED"}
    points = 0
    told = {one.data.tags["sparring.stage"]: one for one in runs}
    for manifest in list_manifests(shell.home):
        found = told[manifest.key]
        figures = {name.replace(" ", "_"): value for name, value in manifest.metrics.items()}
        assert len(found.data.metrics) >= len(figures), manifest.stage
        for name in found.data.metrics:
            history = client.get_metric_history(found.info.run_id, name)
            steps = Counter(point.step for point in history)
            assert max(steps.values()) <= 2, (manifest.stage, name, steps)
            points += len(history)
    return f"{len(runs)} MLflow runs and {points} metric points, each stage once"
