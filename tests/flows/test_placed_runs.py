"""Stages on worker pools, with a real Prefect server, real workers, and homes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tasks.stages.manifest import Manifest, list_manifests
from tests.flows.cluster import ROOT, Host
from tests.flows.command import SMALL, wait_until

MODULE = "tests.flows.placed_flow"


@dataclass
class Site:
    """A Prefect server, a remote folder, and hosts that share nothing else."""

    folder: Path
    control: Host
    prefect: str

    def host(self, name: str, remote: str = "", **variables: str) -> Host:
        """Add a host with nothing on it."""
        common = {
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": self.prefect,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "SPARRING_REMOTE": remote and str(self.folder / remote),
            "SPARRING_LEASE_TTL": "10",
            "OMP_NUM_THREADS": "1",
        }
        return Host(name, self.folder / name, {**common, **variables})

    def start(self, host: Host, **config: Any) -> subprocess.Popen[bytes]:
        """Start the flow on a host; of the config only what differs is given."""
        host.folder.mkdir(parents=True, exist_ok=True)
        path = host.folder / "config.json"
        path.write_text(json.dumps(small_config() | config))
        return host.start(str(path), module=MODULE)

    def pool(self, name: str) -> str:
        """Make a pool of processes."""
        self.control("work-pool", "create", name, "--type", "process", module="prefect")
        return name

    def flow_runs(self, pool: str) -> list[dict[str, Any]]:
        """Return the placed flow runs of a pool, the oldest first."""
        query = {
            "flows": {"name": {"any_": ["placed-stage"]}},
            "work_pools": {"name": {"any_": [pool]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        answer = httpx.post(f"{self.prefect}/flow_runs/filter", json=query, timeout=30)
        return list(answer.raise_for_status().json())

    def states(self, pool: str) -> list[str]:
        """Return the states of a pool's placed flow runs, the oldest first."""
        return [str(run["state_type"]) for run in self.flow_runs(pool)]


def small_config() -> dict[str, Any]:
    """Return data, model and an SFT of some seconds, long enough to be lost in its middle."""
    config = yaml.safe_load(SMALL.read_text())
    small = {name: config[name] for name in ("data", "model", "sft")}
    longer = {"batch_size": 8, "num_train_epochs": 12, "save_every": 10}
    small["sft"]["training"].update(longer)
    return small


def said(host: Host) -> str:
    """Return what the host's commands and workers have printed."""
    path = host.folder / "output.log"
    return path.read_text(errors="replace") if path.exists() else ""


def ended(process: subprocess.Popen[bytes], host: Host, code: int = 0) -> str:
    """Wait for a flow's end; return what it printed."""
    found = process.wait(timeout=600)
    assert found == code, f"exit code {found}\n{said(host)[-4000:]}"
    return said(host)


def trained(host: Host) -> Manifest:
    """Return the manifest of the placed stage."""
    (manifest,) = list_manifests(host.home, "update_policy")
    return manifest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server for the tests of this file."""
    folder = tmp_path_factory.mktemp("site")
    control = Host("control", folder / "control", {"OMP_NUM_THREADS": "1"})
    try:
        address = json.loads(control("up", "--json"))["prefect"]
        control.variables["PREFECT_API_URL"] = address
        yield Site(folder, control, address)
    finally:
        control.variables.pop("PREFECT_API_URL", None)
        control("down", "--force")


@pytest.fixture
def host(site: Site, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes hosts, all of whose processes end with the test."""
    made: list[Host] = []

    def make(name: str, remote: str = "", **variables: str) -> Host:
        made.append(site.host(f"{request.node.name}-{name}", remote, **variables))
        return made[-1]

    yield make
    for one in made:
        one.lose()


@pytest.fixture(scope="module")
def unplaced(site: Site) -> str:
    """The digest that the flow has where all stages run in its own process."""
    alone = site.host("alone")
    ended(site.start(alone), alone)
    return trained(alone).digest


@pytest.mark.slow
@pytest.mark.real
def test_a_pool_that_is_missing_is_refused_at_once(site: Site, host: Any) -> None:
    site.pool("gpus")
    flow = host("flow")
    printed = ended(site.start(flow, placement={"gpu": "gpu"}), flow, code=2)
    assert "placement.gpu names the work pool 'gpu'" in printed
    assert "did you mean 'gpus'?" in printed
    assert "`prefect work-pool create gpu --type process`" in printed
    assert not list_manifests(flow.home), "nothing ran before"


@pytest.mark.slow
@pytest.mark.real
def test_a_lost_worker_is_replaced_by_another_with_a_home_of_its_own(
    site: Site, host: Any, unplaced: str
) -> None:
    pool = site.pool("shared")
    flow, first, second = host("flow", "r"), host("first", "r"), host("second", "r")
    process = site.start(flow, placement={"gpu": {"pool": pool, "slots": 1}})
    wait_until(lambda: "initialise_policy" in said(flow) and "waits for a" in said(flow))
    assert f"start one with `prefect worker start -p {pool}`" in said(flow)
    first.serve(pool)
    remote = Path(flow.variables["SPARRING_REMOTE"])
    wait_until(lambda: len(list(remote.glob("work/*/*.json"))) > 0)
    assert first.lose() > 1
    lost = time.monotonic()
    second.serve(pool)
    printed = ended(process, flow)
    print(f"finished {time.monotonic() - lost:.0f} s after the first worker was lost")
    assert "it is given to a pool again" in printed
    manifest = trained(flow)
    assert manifest.provenance["attempt"] == 2 and manifest.digest == unplaced
    assert site.states(pool) == ["CRASHED", "COMPLETED"]
    assert [one.stage for one in list_manifests(second.home) if one.provenance["attempt"] == 2]
    assert "resumes from" in said(second)
    for run in site.flow_runs(pool):
        assert len(json.dumps(run["parameters"])) < 4096 and run["name"] == "update_policy · SFT"
        assert run["parent_task_run_id"] and run["work_queue_name"] == "gpu"
        assert run["job_variables"]["gpus"] == 1


@pytest.mark.slow
@pytest.mark.real
def test_what_the_body_raises_reaches_the_user_of_the_flow(site: Site, host: Any) -> None:
    pool = site.pool("errors")
    flow = host("flow")
    flow.serve(pool)
    sft = small_config()["sft"] | {"method": "dpo"}
    printed = ended(site.start(flow, sft=sft, placement={"gpu": pool}), flow, code=2)
    sentence = printed[printed.index("ERROR") :]
    assert "reference" in sentence
    assert site.states(pool) == ["FAILED"], "a mistake is not tried again"


@pytest.mark.slow
@pytest.mark.real
def test_an_interrupted_flow_cancels_and_a_killed_one_is_joined_again(
    site: Site, host: Any, unplaced: str
) -> None:
    pool = site.pool("joined")
    flow, worker = host("flow"), host("worker")
    placement = {"gpu": pool}
    # Without a remote, a worker shares the home of the flow.
    worker.variables["SPARRING_HOME"] = str(flow.home.root)
    worker.serve(pool)
    process = site.start(flow, placement=placement)
    parts = flow.home.work
    wait_until(lambda: list(parts.glob("*/attempt-*/parts/*.json")))
    process.send_signal(signal.SIGTERM)
    ended(process, flow, code=-signal.SIGTERM)
    wait_until(lambda: site.states(pool) == ["CANCELLED"])
    assert list(parts.glob("*/attempt-*/parts/*.json")), "its checkpoint is kept"
    process = site.start(flow, placement=placement)
    wait_until(lambda: site.states(pool)[1:] == ["RUNNING"])
    process.kill()
    process.wait()
    ended(site.start(flow, placement=placement), flow)
    assert site.states(pool) == ["CANCELLED", "COMPLETED"], "it was joined, not doubled"
    assert trained(flow).digest == unplaced


@pytest.mark.slow
@pytest.mark.real
def test_a_stage_without_a_slot_says_whom_it_waits_for(site: Site, host: Any) -> None:
    pool = site.pool("narrow")
    one, other = host("one", "s"), host("other", "s")
    worker = host("worker", "s")
    placement = {"gpu": {"pool": pool, "slots": 1, "priority": 2}}
    worker.serve(pool)
    sft = small_config()["sft"]
    endless = {**sft, "training": {**sft["training"], "num_train_epochs": 10_000}}
    first = site.start(one, sft=endless, placement=placement)
    wait_until(lambda: "RUNNING" in site.states(pool))
    second = site.start(other, seed=1, placement=placement)
    expected = "waits for 1 GPU(s) of queue 'gpu' (1 of 1 taken: 1 by 'update_policy · SFT')"
    wait_until(lambda: expected in said(other))
    first.send_signal(signal.SIGTERM)
    ended(second, other)
    first.wait(timeout=60)
    assert sorted(site.states(pool)) == ["CANCELLED", "COMPLETED"]


@pytest.mark.slow
@pytest.mark.real
def test_a_rehearsal_uses_the_pool_and_leaves_nothing_on_the_remote(site: Site, host: Any) -> None:
    pool = site.pool("rehearsed")
    flow, worker = host("flow", "r"), host("worker", "r")
    worker.serve(pool)
    words = ("-c", str(SMALL), "--set", f"placement.cpu={pool}", "--placed", "--json")
    told = json.loads(flow("rehearse", "apo", *words))
    assert told["failures"] == [] and told["missed"] == []
    assert set(site.states(pool)) == {"COMPLETED"} and len(site.states(pool)) > 3
    remote = Path(flow.variables["SPARRING_REMOTE"])
    assert not [path for path in remote.rglob("*") if path.is_file()]
    assert not list_manifests(flow.home, "prepare_data"), "the real home has nothing of it"
