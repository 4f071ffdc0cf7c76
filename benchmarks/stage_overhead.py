"""What the wrapper of a stage costs, with many artifacts in the store already.

    python benchmarks/stage_overhead.py [--artifacts 200] [--stages 30] [--remote folder|swift|URL]

The body writes three small files. Printed: the first stage of a process, which opens DVC; the
median of the following ones; a stage that is done; and the same when nothing is recorded. The
target is a median of at most 150 ms; with a remote, at most 1 s. `swift` starts a real object store
on this machine (infra/install-test-servers.sh installs it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, chdir
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

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
    with ExitStack() as stack:
        stack.enter_context(open_run("bench", config={}, config_text="", mlruns=Path("mlruns")))
        artifact = external_artifact(source)
        first = timed(artifact, 0)
        for seed in range(1, artifacts):
            small(artifact, seed=seed)
        time.sleep(5)  # lets the recorder finish with MLflow's first import
        count = fault_count()
        times = [timed(artifact, artifacts + number) for number in range(stages)]
        operations = (fault_count() - count) / stages
        done = [timed(artifact, seed) for seed in range(stages)]
    print(f"first stage of a process          {first:8.1f} ms")
    print(
        f"median of {stages} with {artifacts} in the store {statistics.median(times):8.1f} ms"
        f"   (10 % {quantile(times, 0.1):.1f}, 90 % {quantile(times, 0.9):.1f},"
        f" target {1000 if 'SPARRING_REMOTE' in os.environ else 150})"
    )
    print(f"durable operations a stage        {operations:8.1f}")
    print(f"fsync of this disk                {fsync_milliseconds():8.2f} ms")
    print(f"a stage that is done              {statistics.median(done):8.2f} ms")


def timed(artifact: Artifact, seed: int) -> float:
    """Return the milliseconds of one stage call."""
    began = time.perf_counter()
    small(artifact, seed=seed)
    return 1000 * (time.perf_counter() - began)


def quantile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def fsync_milliseconds() -> float:
    """Return the median time to make a new small file durable."""
    times = []
    for number in range(50):
        began = time.perf_counter()
        with open(f"fsync-{number}", "wb") as out:
            out.write(b"x")
            out.flush()
            os.fsync(out.fileno())
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    """Measure in a folder of its own, removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--artifacts", type=int, default=200)
    parser.add_argument("--stages", type=int, default=30)
    parser.add_argument("--remote", default="", help="folder, swift, or a SPARRING_REMOTE")
    words = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="sparring-bench-")
    os.environ["SPARRING_HOME"] = f"{folder}/home"
    try:
        with ExitStack() as stack:
            stack.enter_context(chdir(folder))
            if remote := remote_url(words.remote, Path(folder), stack):
                os.environ["SPARRING_REMOTE"] = remote
            measure(words.artifacts, words.stages)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    main()
