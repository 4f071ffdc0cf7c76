"""A deployment on a real Prefect server with a real worker, and data that grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.servers.prefect_server import prefect_environment
from flows.servers.shared_server import start_prefect_server, stop
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.generator import ensure_playground
from tasks.processes.detached import terminate
from tests.flows.command import Shell, wait_until

RECURRING = Path(__file__).parent / "configs" / "recurring.yaml"
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Deployed:
    """Starts the runs of one deployment."""

    shell: Shell
    """Where commands are typed, and the worker's processes run."""
    url: str
    """Of Prefect's API."""
    variables: dict[str, str]
    """Of every process that uses the server."""
    deployment: str = ""
    """Prefect's id."""

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call Prefect's API: GET, or POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}", data, {"Content-Type": "application/json"}
        )
        for attempt in range(60):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                # Prefect's SQLite under load; its own client tries again, too.
                if error.code != 503 or attempt == 59:
                    raise
                time.sleep(1)

    def sparring(self, *words: str, code: int = 0) -> str:
        """Type a command that uses the server."""
        return self.shell(*words, code=code, **self.variables).stdout

    def deploy(self, config: Path = RECURRING, *words: str) -> dict[str, Any]:
        """Register the flow."""
        (told,) = json.loads(
            self.sparring("deploy", "apo", "-c", str(config), "--create-pool", "--json", *words)
        )
        self.deployment = told["id"]
        return dict(told)

    def fire(self, instant: datetime | None = None) -> str:
        """Ask for a run, of an instant of the schedule or of now; returns the flow run's id."""
        when = (instant or datetime.now(UTC)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": when}}
        return str(
            self.ask(f"deployments/{self.deployment}/create_flow_run", {"state": state})["id"]
        )

    def state(self, flow_run: str) -> dict[str, Any]:
        """Return a flow run's state: type, name, message."""
        return dict(self.ask(f"flow_runs/{flow_run}")["state"])

    def wait(self, *flow_runs: str, seconds: float = 600.0) -> list[str]:
        """Wait for flow runs to end and return the names of their states."""
        wait_until(lambda: all(self.state(one)["type"] in OVER for one in flow_runs), seconds)
        return [self.state(one)["name"] for one in flow_runs]

    def retry(self, flow_run: str) -> None:
        """Press Retry on a flow run's page."""
        when = datetime.now(UTC).isoformat()
        details = {"scheduled_time": when}
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
        self.ask(f"flow_runs/{flow_run}/set_state", {"state": state, "force": True})


@contextmanager
def deployed_flow(folder: Path) -> Iterator[Deployed]:
    """Have a Prefect server and a worker for the deployment of one folder."""
    shell = Shell(folder)
    grow(folder, 90)
    server = start_prefect_server(shell.home)
    variables = prefect_environment(shell.home, server.url)
    variables |= {"SPARRING_HOME": str(shell.home.root), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    found = Deployed(shell, server.url, variables)
    worker = None
    try:
        found.deploy()
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "sparring"]
        with open(folder / "worker.log", "wb") as log:
            # Elsewhere: nothing of a worker's own folder may get into that of the flow.
            (folder / "elsewhere").mkdir()
            (folder / "elsewhere" / "stray.txt").write_text("not for the flow")
            worker = subprocess.Popen(
                command,
                cwd=folder / "elsewhere",
                env={**os.environ, **variables},
                stdout=log,
                stderr=log,
            )
        yield found
    finally:
        if worker is not None:
            terminate(worker.pid)
        stop(server)


def grow(folder: Path, pairs: int) -> None:
    """Let the file of preference pairs have its first so many lines."""
    settings = PlaygroundConfig(
        folder=folder / "data/playground",
        entities=4,
        preferences=120,
        test=24,
        demonstrations=100,
        extra=20,
    )
    ensure_playground(settings)
    lines = (settings.folder / "preferences.jsonl").read_text().splitlines(keepends=True)
    (folder / "data/pairs.jsonl").write_text("".join(lines[:pairs]))
