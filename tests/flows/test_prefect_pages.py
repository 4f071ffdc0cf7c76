"""What a Prefect user sees in a real browser: true states, the form, the report, and Retry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.processes import terminate
from flows.servers import prefect_environment, start_prefect_server, stop
from tasks.stages.runs import list_runs
from tasks.storage.home import Home
from tests.flows.command import SMALL, wait_until
from tests.servers.browser import browse

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.real
def test_retry_in_the_browser_skips_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: str
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = Home(tmp_path / "home").ensure()
    server = start_prefect_server(home)
    variables = {
        **os.environ,
        **prefect_environment(home, server.url),
        "SPARRING_HOME": str(home.root),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    config = yaml.safe_load(SMALL.read_text())
    config["data"]["playground"]["folder"] = str(tmp_path / "playground")
    # The gold responses are missing the first time: what lies before them is done then.
    gold = tmp_path / "golden.jsonl"
    config["gold"]["path"] = str(gold)
    pages = server.url.removesuffix("/api")

    def prefect(*words: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        subprocess.run(command, cwd=ROOT, env=variables, check=True, timeout=600)

    def tasks() -> list[dict[str, Any]]:
        query = {"flow_runs": {"id": {"any_": [flow_run]}}}
        return httpx.post(f"{server.url}/task_runs/filter", json=query).raise_for_status().json()

    def state() -> str:
        return httpx.get(f"{server.url}/flow_runs/{flow_run}").json()["state_type"]

    worker = None
    try:
        prefect("work-pool", "create", "local", "--type", "process")
        prefect("deploy", "flows/apo.py:apo", "-n", "small", "--pool", "local")
        prefect("deployment", "run", "apo/small", "--param", f"config={json.dumps(config)}")
        (found,) = httpx.post(f"{server.url}/flow_runs/filter", json={}).json()
        flow_run, deployment = found["id"], found["deployment_id"]
        start = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"]
        worker = subprocess.Popen(start, cwd=ROOT, env=variables)
        with browse(chromium, tmp_path / "browser") as browser:
            browser.open(f"{pages}/runs/flow-run/{flow_run}")
            browser.wait_for("Failed", 240)
            browser.wait_for("golden.jsonl", 60)
            browser.shot("prefect-failed")
            done = {task["name"] for task in tasks() if task["state_type"] == "COMPLETED"}
            assert "update_policy · SFT" in done
            gold.write_bytes((tmp_path / "playground/golden.jsonl").read_bytes())
            browser.click("Retry", "button")
            browser.shot("prefect-retry")
            browser.click("Retry", "button")
            wait_until(lambda: state() == "COMPLETED", 400)
            browser.open(f"{pages}/runs/flow-run/{flow_run}")
            browser.click("Task Runs")
            browser.wait_for("write_report", 60)
            browser.shot("prefect-completed")
            browser.click("Artifacts")
            browser.wait_for("Table 2", 30)
            browser.shot("prefect-artifacts")
            browser.open(f"{pages}/deployments/deployment/{deployment}/run")
            # The form has the fields of the configuration, with their docstrings as help.
            browser.wait_for("Outer rounds of the game", 60)
            browser.shot("prefect-form")
        ends = tasks()
    finally:
        if worker is not None:
            terminate(worker.pid)
        stop(server)
    (run,) = list_runs(home)
    assert run.status == "completed" and run.prefect_flow_run == flow_run
    assert done <= {task["name"] for task in ends if task["state_name"] == "Cached"}
    assert {task["state_type"] for task in ends} == {"COMPLETED"}
