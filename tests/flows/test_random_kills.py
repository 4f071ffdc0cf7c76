"""Scheduled runs on two hosts while somebody kills their processes and servers at random.

SPARRING_KILLS=20 python -m pytest -m slow -s tests/flows/test_random_kills.py
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
import yaml

from tasks.stages.manifest import list_manifests
from tasks.storage.files import read_json
from tests.flows.cluster import Cluster, Host, cluster, digests
from tests.flows.command import Shell, wait_until
from tests.flows.scheduling import RECURRING, grow
from tests.servers.swift import SwiftServer

KILLS = int(os.environ.get("SPARRING_KILLS", "20"))
SEED = int(os.environ.get("SPARRING_KILL_SEED", "0"))
REVISIONS = tuple(map(int, os.environ.get("SPARRING_REVISIONS", "90,120").split(",")))
"""Preference pairs that each scheduled run finds."""
KINDS = ("flow", "stage", "worker", "mlflow", "prefect")


@pytest.mark.slow
@pytest.mark.real
def test_scheduled_runs_survive_kills_of_everything(
    tmp_path: Path, object_store: SwiftServer
) -> None:
    expected = undisturbed(tmp_path / "reference")
    with cluster(tmp_path / "cluster", object_store) as hosts:
        trainer, other = hosts.host("trainer"), hosts.host("other")
        config = yaml.safe_load(RECURRING.read_text())
        config["schedule"] = {"cron": "* * * * *"}
        config["placement"] = {"gpu": {"pool": "gpu", "slots": 1}}
        other.folder.mkdir(parents=True)
        (other.folder / "scheduled.yaml").write_text(yaml.safe_dump(config))
        other("work-pool", "create", "gpu", "--type", "process", module="prefect")
        grow(other.folder, REVISIONS[0])
        with kept_alive({"gpu": trainer, "sparring": other}):
            other("deploy", "apo", "-c", "scheduled.yaml", "--create-pool")
            killed = kill_and_grow(hosts, trainer, other)
            other("--no-prompt", "deployment", "schedule", "clear", "-y", "apo/recurring",
                  module="prefect")  # fmt: skip
            wait_until(lambda: not active(hosts), 400)
        # Whoever uses the server next closes what died; what ended a minute ago has settled.
        time.sleep(60)
        hosts.control("up", "--json")
        trained = [run for run in hosts.flow_runs("apo") if run["state_name"] == "Completed"]
        assert len(trained) >= len(REVISIONS)
        found = digests(other.home)
        assert {name: found.get(name) for name in expected} == expected
        leftovers(hosts, trainer, other)
        states = Counter(run["state_name"] for run in hosts.flow_runs("apo"))
        placed = Counter(run["state_name"] for run in hosts.flow_runs("placed-stage"))
        print(f"\n{sum(killed.values())} kills {dict(killed)}: runs {dict(states)}, "
              f"placed stages {dict(placed)}, {len(expected)} digests equal")  # fmt: skip


def undisturbed(folder: Path) -> dict[str, str]:
    """Run every revision on one machine, unplaced and unscheduled; return all digests."""
    shell = Shell(folder)
    folder.mkdir()
    config = yaml.safe_load(RECURRING.read_text())
    del config["schedule"]
    (folder / "plain.yaml").write_text(yaml.safe_dump(config))
    for pairs in REVISIONS:
        grow(folder, pairs)
        shell("run", "apo", "-c", "plain.yaml")
    return shell.finished_keys()


@contextmanager
def kept_alive(workers: dict[str, Host]) -> Iterator[None]:
    """Start workers, and start them again when they die, as systemd or Kubernetes would."""
    stop = Event()

    def watch() -> None:
        while not stop.wait(2.0):
            for pool, host in workers.items():
                host.serve(pool)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for host in workers.values():
            for worker in host.workers.values():
                worker.send_signal(signal.SIGINT)
        for host in workers.values():
            for worker in host.workers.values():
                worker.wait(timeout=60)


def kill_and_grow(hosts: Cluster, trainer: Host, other: Host) -> Counter[str]:
    """Kill until it is enough, letting the data grow after each scheduled run."""
    draws, killed, revision = random.Random(SEED), Counter[str](), 0
    began = time.monotonic()
    while sum(killed.values()) < KILLS or completed_runs(hosts) < len(REVISIONS):
        assert time.monotonic() - began < 3600, "the runs do not come to their end"
        if completed_runs(hosts) > revision and revision + 1 < len(REVISIONS):
            revision += 1
            grow(other.folder, REVISIONS[revision])
        time.sleep(draws.uniform(4, 16))
        if sum(killed.values()) < KILLS and is_at_work(other):
            kind = draws.choice(KINDS)
            victims = victims_of(kind, hosts, trainer, other)
            if victims:
                draws.choice(victims).send_signal(signal.SIGKILL)
                killed[kind] += 1
                print(f"{time.monotonic() - began:6.0f} s: killed {kind}", flush=True)
    return killed


def victims_of(kind: str, hosts: Cluster, trainer: Host, other: Host) -> list[psutil.Process]:
    """Return the processes of one kind that run now."""
    if kind in ("mlflow", "prefect"):
        record = read_json(hosts.control.home.servers).get(kind, {})
        return [psutil.Process(record["pid"])] if psutil.pid_exists(record.get("pid", -1)) else []
    workers = {worker.pid for host in (trainer, other) for worker in host.workers.values()}
    if kind == "worker":
        return [psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)]
    host = trainer if kind == "stage" else other
    return [one for one in host.processes() if one.pid not in workers]


def is_at_work(other: Host) -> bool:
    """Whether a flow runs on the host of flows."""
    workers = {worker.pid for worker in other.workers.values()}
    return any(one.pid not in workers for one in other.processes())


def completed_runs(hosts: Cluster) -> int:
    """Return how many scheduled runs came to their report."""
    try:
        return sum(run["state_name"] == "Completed" for run in hosts.flow_runs("apo"))
    except Exception:  # the server has just been killed
        return -1


def active(hosts: Cluster) -> list[str]:
    """Return what Prefect believes to be at work."""
    query = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    try:
        return [str(run["name"]) for run in hosts.ask("flow_runs/filter", query)]
    except Exception:
        return ["the server does not answer"]


def leftovers(hosts: Cluster, trainer: Host, other: Host) -> None:
    """Nothing is left running, locked or orphaned."""
    from mlflow import MlflowClient

    assert active(hosts) == []
    query = {"task_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}}
    assert [task["name"] for task in hosts.ask("task_runs/filter", query)] == []
    client = MlflowClient(hosts.mlflow)
    ids = [one.experiment_id for one in client.search_experiments()]
    running = client.search_runs(ids, "attributes.status = 'RUNNING'")
    assert [run.info.run_name for run in running] == []
    assert [one.cmdline() for host in (trainer, other) for one in host.processes()] == []
    assert hosts.objects("work/") == []
    for host in (trainer, other):
        held = [read_json(path) for path in host.home.leases.glob("*.json")]
        assert all(record["owner"] is None or is_over(record) for record in held)
        assert len({one.key for one in list_manifests(host.home)}) == len(
            list(host.home.manifests.glob("*/*.json"))
        )


def is_over(record: dict[str, dict[str, int]]) -> bool:
    """Whether the owner of a lease is dead, so that the next one takes it at once."""
    return not psutil.pid_exists(record["owner"]["pid"])
