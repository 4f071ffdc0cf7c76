"""The containers' own commands, run here without Docker until their health checks pass.

Postgres and the object store are real ones; only addresses, ports and secrets are put in their
place. Kubernetes runs the same commands.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.infra.reading import SECRETS, compose, pods

_SECONDS = 120.0


@dataclass
class Cluster:
    """The services of the compose file as processes of this machine."""

    folder: Path
    services: dict[str, Any]
    moved: dict[str, str]
    """What stands in the file → what it is here."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, name: str) -> None:
        """Run a service that ends by itself."""
        subprocess.run(self._here(self.services[name]["command"]), check=True, **self._place(name))

    def start(self, name: str) -> None:
        """Start a service that stays."""
        command = self._here(self.services[name]["command"])
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append(
                subprocess.Popen(
                    command, stdout=log, stderr=log, start_new_session=True, **self._place(name)
                )
            )

    def wait(self, name: str) -> None:
        """Ask a service's health check until it passes."""
        kind, *check = self._here(self.services[name]["healthcheck"]["test"])
        assert kind == "CMD"
        until = time.monotonic() + _SECONDS
        while subprocess.run(check, capture_output=True, **self._place(name)).returncode:
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            assert time.monotonic() < until, log[-3000:]
            time.sleep(0.5)

    def stop(self) -> None:
        """End everything, the newest first, as Docker does."""
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def _here(self, words: list[str]) -> list[str]:
        for there, here in self.moved.items():
            words = [word.replace(there, here) for word in words]
        return words

    def _place(self, name: str) -> dict[str, Any]:
        """Return environment and folder: nothing of ours gets in but the path of the programs."""
        given = self.services[name].get("environment", {})
        values = self._here(list(given.values()))
        home = self.folder / name
        home.mkdir(exist_ok=True)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        base = {"PATH": path, "HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
        base |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        base["PREFECT_WORKER_WEBSERVER_PORT"] = self.moved["8080"]
        return {"env": base | dict(zip(given, values, strict=True)), "cwd": home}


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def ask(url: str, data: bytes | None = None, *, method: str = "", auth: str = "") -> Any:
    """Return the JSON that a server answers."""
    request = urllib.request.Request(url, data, method=method or ("POST" if data else "GET"))
    if auth:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def soon(look: Callable[[], Any]) -> Any:
    """Return what is found, once there is something: a healthy worker still has to sign in."""
    until = time.monotonic() + 60
    while True:
        try:
            if found := look():
                return found
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        assert time.monotonic() < until
        time.sleep(0.5)


@pytest.fixture
def cluster(tmp_path: Path, postgres: Any, object_store: Any) -> Iterator[Cluster]:
    from tests.servers.postgres import PASSWORD

    prefect, mlflow, health = (str(port) for port in free_ports(3))
    databases = {name: f"{name}_{secrets.token_hex(3)}" for name in ("prefect", "mlflow")}
    for database in databases.values():
        postgres.create(database)
    filled = compose(
        {
            "POSTGRES_PASSWORD": PASSWORD,
            "S3_ACCESS_KEY": object_store.access_key,
            "S3_SECRET_KEY": object_store.secret_key,
            "PREFECT_AUTH": SECRETS["PREFECT_AUTH"],
        }
    )
    moved = {
        **{
            f"@postgres:5432/{n}": f"@127.0.0.1:{postgres.port}/{db}" for n, db in databases.items()
        },
        "http://object-store:8333": object_store.endpoint,
        "//prefect:4200": f"//127.0.0.1:{prefect}",
        "//mlflow:5000": f"//127.0.0.1:{mlflow}",
        "4200": prefect,
        "5000": mlflow,
        "8080": health,
        "0.0.0.0": "127.0.0.1",
    }
    cluster = Cluster(tmp_path, filled["services"], moved)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.slow
@pytest.mark.real
def test_the_commands_come_up_and_work_together(cluster: Cluster, object_store: Any) -> None:
    cluster.run("bucket")
    cluster.run("bucket")  # again: it is there
    cluster.start("prefect")
    cluster.start("mlflow")
    cluster.wait("mlflow")
    cluster.wait("prefect")
    cluster.start("worker-cpu")
    cluster.wait("worker-cpu")

    secret = SECRETS["PREFECT_AUTH"]
    # Prefect lets in whoever has the password, and has the worker's pool.
    prefect = f"http://127.0.0.1:{cluster.moved['4200']}/api"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{prefect}/work_pools/cpu")
    workers = soon(lambda: ask(f"{prefect}/work_pools/cpu/workers/filter", b"{}", auth=secret))
    assert [worker["status"] for worker in workers] == ["ONLINE"]
    assert ask(f"{prefect}/work_pools/cpu", auth=secret)["type"] == "process"

    # MLflow keeps its records in Postgres and its files in the bucket, for clients without keys.
    mlflow = f"http://127.0.0.1:{cluster.moved['5000']}/api/2.0"
    made = ask(f"{mlflow}/mlflow/experiments/create", b'{"name": "apo"}')
    assert made["experiment_id"]
    ask(f"{mlflow}/mlflow-artifacts/artifacts/1/report.md", b"# Report", method="PUT")
    stored = object_store.client().get_object(Bucket="sparring", Key="mlflow/1/report.md")
    assert stored["Body"].read() == b"# Report"


def test_kubernetes_runs_the_same_commands() -> None:
    services = compose(SECRETS)["services"]
    for name in ("prefect", "mlflow"):
        (container,) = pods()[name]["containers"]
        assert container["command"] == services[name]["command"]
        given = {variable["name"] for variable in container["env"]}
        said = services[name]["environment"].keys()
        # The rest comes from the config map of all clients.
        assert {one for one in said - given if not one.startswith(("AWS_", "MLFLOW_"))} == set()
