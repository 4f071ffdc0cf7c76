"""`prefect deploy` with infra/prefect.yaml registers what `sparring deploy` registers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.registry import find_flow
from flows.servers.prefect_server import prefect_environment
from flows.servers.shared_server import start_prefect_server, stop
from tasks.settings.loading import validate
from tasks.storage.home import Home
from tests.infra.reading import INFRA, ROOT, documents
from tests.infra.test_commands import ask

(WHOLE,) = documents(INFRA / "prefect.yaml")
(DEPLOYMENT,) = WHOLE["deployments"]


def test_its_configuration_is_apo_tiny_with_the_schedule_it_says() -> None:
    config = dict(DEPLOYMENT["parameters"]["config"])
    (schedule,) = DEPLOYMENT["schedules"]
    said = config.pop("schedule")
    assert (said["cron"], said["timezone"]) == (schedule["cron"], schedule["timezone"])
    assert config == yaml.safe_load((ROOT / "flows/configs/apo-tiny.yaml").read_text("utf-8"))


def registered(url: str) -> dict[str, Any]:
    """Return what matters of the deployment: not ids, times and the state of the server."""
    found = ask(f"{url}/deployments/name/apo/recurring")
    names = ("entrypoint", "tags", "description", "work_pool_name", "work_queue_name")
    names += ("enforce_parameter_schema", "job_variables", "paused", "concurrency_limit")
    kept = {name: found[name] for name in names}
    kept["pull_steps"] = found["pull_steps"] or None
    kept["env"] = {k: v for k, v in (found["job_variables"].get("env") or {}).items() if v}
    kept["job_variables"] = {k: v for k, v in found["job_variables"].items() if k != "env"}
    kept["schedules"] = [
        (one["slug"], one["active"], one["schedule"]["cron"], one["schedule"]["timezone"])
        for one in found["schedules"]
    ]
    form = found["parameter_openapi_schema"]
    kept["form"] = (form["required"], sorted(form["definitions"]))
    config_class = find_flow("apo").config_class()
    kept["config"] = validate(config_class, found["parameters"]["config"], "registered")
    return kept


@pytest.mark.slow
def test_both_commands_register_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = Home(tmp_path / "home").ensure()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(DEPLOYMENT["parameters"]["config"]))
    server = start_prefect_server(home)
    remote = {"SPARRING_REMOTE": str(tmp_path / "remote"), "SPARRING_HOME": str(home.root)}
    variables = {**os.environ, **prefect_environment(home, server.url), **remote}
    variables["PWD"] = str(ROOT)

    def call(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call("flows.cli", "deploy", "apo", "-c", str(config), "--create-pool")
        ours = registered(server.url)
        found = ask(f"{server.url}/deployments/name/apo/recurring")
        ask(f"{server.url}/deployments/{found['id']}", method="DELETE")
        call("prefect", "--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml", "--all")
        theirs = registered(server.url)
    finally:
        stop(server)
    assert theirs == ours
    assert ours["schedules"] == [("sparring", True, "0 3 * * *", "UTC")]
    assert ours["env"]["SPARRING_REMOTE"] == str(tmp_path / "remote")
