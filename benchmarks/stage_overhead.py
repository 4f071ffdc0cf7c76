"""What the wrapper of a stage costs, with many artifacts in the store already.

    python benchmarks/stage_overhead.py [--artifacts 200] [--stages 30] [--remote folder|swift|URL]

The body writes three small files. Printed: the first stage of a process, which opens DVC; the
median of the following ones; a stage that is done; and the same when nothing is recorded. The
target is a median of at most 150 ms; with a remote, at most 1 s. `swift` starts a real object store
on this machine (infra/install-test-servers.sh installs it).
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import own_folder, timed
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.prefect_task import stage_task
from tasks.storage.faults import fault_count
from tasks.storage.workspace import Workspace


@stage_task(version=1)
def small(source: Artifact, *, seed: int, workspace: Workspace, log: Log) -> dict[str, float]:
    """Write three small files and record a metric."""
    for index in range(3):
        (workspace.output / f"{index}.json").write_text(f"[{seed}, {index}]")
    log({"loss": 1.0}, step=0)
    return {"score": 1.0}


def measure(artifacts: int, stages: int) -> None:
    """Fill a store and print what one more stage costs."""
    source = Path("source.txt")
    source.write_text("hello")
    with open_run("bench", config={}, config_text="", mlruns=Path("mlruns")):
        artifact = external_artifact(source)
        first = milliseconds(artifact, 0)
        for seed in range(1, artifacts):
            small(artifact, seed=seed)
        time.sleep(5)  # lets the recorder finish with MLflow's first import
        count = fault_count()
        times = [milliseconds(artifact, artifacts + number) for number in range(stages)]
        operations = (fault_count() - count) / stages
        done = [milliseconds(artifact, seed) for seed in range(stages)]
    print(f"first stage of a process          {first:8.1f} ms")
    print(
        f"median of {stages} with {artifacts} in the store {median(times):8.1f} ms"
        f"   (10 % {quantile(times, 0.1):.1f}, 90 % {quantile(times, 0.9):.1f},"
        f" target {1000 if 'SPARRING_REMOTE' in os.environ else 150})"
    )
    print(f"durable operations a stage        {operations:8.1f}")
    print(f"fsync of this disk                {fsync_milliseconds():8.2f} ms")
    print(f"a stage that is done              {median(done):8.2f} ms")


def milliseconds(artifact: Artifact, seed: int) -> float:
    """Return the milliseconds of one stage call."""
    return 1000 * timed(partial(small, artifact, seed=seed))


def quantile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def fsync_milliseconds() -> float:
    """Return the median time to make a new small file durable."""

    def durable(number: int) -> None:
        with open(f"fsync-{number}", "wb") as out:
            out.write(b"x")
            out.flush()
            os.fsync(out.fileno())

    return 1000 * median(timed(partial(durable, number)) for number in range(50))


def main(artifacts: int = 200, stages: int = 30, remote: str = "") -> None:
    """Measure in a folder of its own; the remote is `folder`, `swift` or a SPARRING_REMOTE."""
    with own_folder() as folder, ExitStack() as stack:
        if url := remote_url(remote, folder, stack):
            os.environ["SPARRING_REMOTE"] = url
        measure(artifacts, stages)


def remote_url(name: str, folder: Path, stack: ExitStack) -> str:
    """Return the remote to measure with, starting an object store for `swift`."""
    if name == "folder":
        return f"{folder}/shared"
    if name != "swift":
        return name
    from tests.servers.swift import swift_server

    server = stack.enter_context(swift_server(folder / "swift"))
    os.environ.update(server.environment)
    return f"s3://{server.bucket()}"


if __name__ == "__main__":
    typer.run(main)
