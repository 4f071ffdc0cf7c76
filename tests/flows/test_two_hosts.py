"""Two hosts that share nothing but a bucket run one flow, and one of them is lost in the middle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from flows.placement.stage_flow import stage_named
from tasks.stages.manifest import damaged_files, list_manifests
from tests.flows.cluster import Cluster, cluster, digests
from tests.flows.command import Shell, wait_until
from tests.servers.swift import SwiftServer

HOSTS = Path(__file__).parent / "configs" / "hosts.yaml"


def placed_config(folder: Path, **changes: object) -> Path:
    """Write the config with GPU stages on the pool `gpu`."""
    config = {**yaml.safe_load(HOSTS.read_text()), "placement": {"gpu": "gpu"}, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "placed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
@pytest.mark.real
def test_a_lost_host_is_finished_by_the_other_with_equal_digests(
    tmp_path: Path, object_store: SwiftServer
) -> None:
    reference = Shell(tmp_path / "reference")
    reference.folder.mkdir()
    reference("run", "apo", "-c", str(HOSTS))
    expected = reference.finished_keys()
    (update,) = [
        one for one in list_manifests(reference.home, "update_policy") if one.label != "SFT"
    ]
    with cluster(tmp_path / "cluster", object_store) as hosts:
        trainer, other = hosts.host("trainer"), hosts.host("other")
        config = placed_config(other.folder)
        other("work-pool", "create", "gpu", "--type", "process", module="prefect")
        other("deploy", "apo", "-c", str(config), "--pool", "cpu", "--create-pool")
        trainer.serve("gpu")
        other.serve("cpu")
        other("--no-prompt", "deployment", "run", "apo/recurring", module="prefect")
        (flow_run,) = [run["id"] for run in hosts.flow_runs("apo")]
        wait_until(lambda: len(hosts.objects(f"work/{update.key}/")) > 4, 900)
        assert trainer.lose() > 1
        # Until then each host did what it is for, and nothing else.
        for one in list_manifests(other.home):
            worker = trainer if resources(one.stage) == "gpu" else other
            idle = other if worker is trainer else trainer
            assert worker.worked_on(one) and not idle.worked_on(one), one.stage
        other.serve("gpu")
        assert hosts.wait_for_end(flow_run) == "Completed"
        assert digests(other.home) == expected
        for manifest in list_manifests(other.home):
            if other.worked_on(manifest):
                assert not damaged_files(other.home, manifest, verify=True)
        (resumed,) = [one for one in list_manifests(other.home) if one.key == update.key]
        assert resumed.provenance["attempt"] == 2 and other.worked_on(resumed)
        states = Counter(run["state_name"] for run in hosts.flow_runs("placed-stage"))
        assert set(states) == {"Completed", "Crashed"}
        assert not hosts.objects("work/"), "checkpoints of finished stages are gone"
        print(f"\nplaced stages: {dict(states)}; {len(expected)} digests equal; "
              f"{resume_notes(hosts)}")  # fmt: skip


def resources(stage: str) -> str:
    """Return what a stage wants to run on."""
    return stage_named(stage).spec.resources


def resume_notes(hosts: Cluster) -> list[str]:
    """Return what the flow's logs say of resuming."""
    query = {"logs": {"level": {"ge_": 20}}, "limit": 200, "sort": "TIMESTAMP_DESC"}
    logs = hosts.ask("logs/filter", query)
    return [one["message"] for one in logs if "resumes" in one["message"]]
