"""Several hosts on this machine: each has a state folder of its own, and only the bucket in common.

A host can be lost at any moment: every process that works with its state folder is killed at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tasks.stages.manifest import Manifest, list_manifests
from tasks.storage.home import Home
from tests.flows.command import wait_until
from tests.servers.swift import SwiftServer

ROOT = Path(__file__).parents[2]


@dataclass
class Host:
    """A machine: a folder for its state, and the processes that work with it."""

    name: str
    folder: Path
    variables: dict[str, str]
    """What its processes find in their environment, besides their state folder."""
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """By pool."""

    @property
    def home(self) -> Home:
        """Its state folder."""
        return Home(self.folder / "home")

    @property
    def environment(self) -> dict[str, str]:
        """All of its processes' environment."""
        own = {
            "SPARRING_HOME": str(self.home.root),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "COLUMNS": "120",
        }
        return {**os.environ, **self.variables, **own}

    def start(self, *words: str, module: str = "flows.cli") -> subprocess.Popen[bytes]:
        """Start a command of ours, or of another module, on this host."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "output.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Started behind an `&`, this process and its children would not hear SIGINT, by
                # which a worker is stopped.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def __call__(self, *words: str, module: str = "flows.cli", code: int = 0) -> str:
        """Run a command on this host to its end; return what it printed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        said = f"{words}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == code, said
        return done.stdout

    def serve(self, pool: str) -> None:
        """Start a worker, or start one that died again."""
        worker = self.workers.get(pool)
        if worker is None or worker.poll() is not None:
            words = ("worker", "start", "--pool", pool, "--name", f"{self.name}-{pool}")
            self.workers[pool] = self.start(*words, module="prefect")

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this host."""
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get("SPARRING_HOME") == str(self.home.root)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def lose(self) -> int:
        """Kill everything on it at one moment, as a power cut does; return how many that were."""
        victims = self.processes()
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for victim in victims:
                try:
                    victim.send_signal(signal_number)
                except psutil.NoSuchProcess:
                    continue
        for worker in self.workers.values():
            worker.wait(timeout=30)
        self.workers.clear()
        return len(victims)

    def worked_on(self, manifest: Manifest) -> bool:
        """Whether an attempt at a stage was made here."""
        return (self.home.leases / f"{manifest.key}.json").exists()


@dataclass
class Cluster:
    """Hosts, the servers they share, and a bucket."""

    folder: Path
    store: SwiftServer
    remote: str
    control: Host
    """Keeps the servers of Prefect and MLflow."""
    prefect: str = ""
    """Address of the API."""
    mlflow: str = ""
    """Address of the server."""

    def host(self, name: str) -> Host:
        """Add a host with nothing on it."""
        variables = {
            **self.store.environment,
            "SPARRING_REMOTE": self.remote,
            "PREFECT_API_URL": self.prefect,
            "MLFLOW_TRACKING_URI": self.mlflow,
            "OMP_NUM_THREADS": "1",
            "SPARRING_LEASE_TTL": "20",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        return Host(name, self.folder / name, variables)

    def ask(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """Ask Prefect's server."""
        url = f"{self.prefect}/{path}"
        answer = httpx.get(url) if query is None else httpx.post(url, json=query, timeout=30)
        return answer.raise_for_status().json()

    def flow_runs(self, flow: str) -> list[dict[str, Any]]:
        """Return the flow runs of a flow, the oldest first."""
        query = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return list(self.ask("flow_runs/filter", query))

    def wait_for_end(self, flow_run: str, seconds: float = 1500.0) -> str:
        """Wait until a flow run is over; return the name of its state."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        wait_until(lambda: self.ask(f"flow_runs/{flow_run}")["state_type"] in ends, seconds)
        return str(self.ask(f"flow_runs/{flow_run}")["state_name"])

    def objects(self, prefix: str) -> list[str]:
        """Return the names of the remote's objects below a prefix, past our own code."""
        bucket, _, inside = self.remote.removeprefix("s3://").partition("/")
        pages = self.store.client().get_paginator("list_objects_v2")
        found: list[str] = []
        for page in pages.paginate(Bucket=bucket, Prefix=f"{inside}/{prefix}"):
            found += [one["Key"].removeprefix(f"{inside}/") for one in page.get("Contents", ())]
        return found


@contextmanager
def cluster(folder: Path, store: SwiftServer) -> Iterator[Cluster]:
    """Have servers and an empty bucket during the block."""
    control = Host("control", folder / "control", {"OMP_NUM_THREADS": "1"})
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        assert name not in os.environ
    found = Cluster(folder, store, f"s3://{store.bucket()}/team", control)
    try:
        servers = json.loads(control("up", "--json"))
        found.prefect, found.mlflow = servers["prefect"], servers["mlflow"]
        yield found
    finally:
        for process in psutil.process_iter():
            try:
                where = process.environ().get("SPARRING_HOME", "")
            except psutil.Error:
                continue
            if where.startswith(str(folder)) and not where.startswith(str(control.folder)):
                process.kill()
        control("down", "--force")


def digests(home: Home) -> dict[str, str]:
    """Return the digest of every committed output by stage and key."""
    return {f"{one.stage}/{one.key}": one.digest for one in list_manifests(home)}
