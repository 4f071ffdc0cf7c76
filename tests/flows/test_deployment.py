"""Plain Prefect commands run the flow: nothing of ours is needed but the flow itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.servers.prefect_server import prefect_environment
from flows.servers.shared_server import start_prefect_server, stop
from tasks.processes.detached import terminate
from tasks.stages.runs.run_store import list_runs
from tasks.storage.home import Home
from tests.flows.command import SMALL

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_prefect_deploy_and_deployment_run_work_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = Home(tmp_path / "home").ensure()
    server = start_prefect_server(home)
    variables = prefect_environment(home, server.url) | {"SPARRING_HOME": str(home.root)}
    # The worker loads the flow from where it was deployed; data and records go to this folder.
    data = yaml.safe_load(SMALL.read_text())
    data["data"]["playground"]["folder"] = str(tmp_path / "playground")
    data["gold"]["path"] = str(tmp_path / "playground/golden.jsonl")
    variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"

    def prefect(*words: str) -> list[str]:
        return [sys.executable, "-m", "prefect", "--no-prompt", *words]

    def call(*words: str) -> None:
        subprocess.run(
            prefect(*words), cwd=ROOT, env={**os.environ, **variables}, check=True, timeout=600
        )

    worker = None
    try:
        call("work-pool", "create", "local", "--type", "process")
        call("deploy", "flows/apo.py:apo", "-n", "small", "--pool", "local")
        worker = subprocess.Popen(
            prefect("worker", "start", "--pool", "local"), cwd=ROOT, env={**os.environ, **variables}
        )
        config = f"config={json.dumps(data)}"
        call("deployment", "run", "apo/small", "--param", config, "--watch")
    finally:
        if worker is not None:
            terminate(worker.pid)
        stop(server)
    (run,) = list_runs(home)
    assert run.status == "completed" and run.prefect_flow_run
