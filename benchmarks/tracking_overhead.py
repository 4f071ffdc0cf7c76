"""How much the MLflow records of a stage cost the flow that runs it.

    python benchmarks/tracking_overhead.py [--stages 40] [--seconds 0.5]

Starts a real MLflow server and runs stages that compute for a while, in turns with the recorder
telling it everything and without any record. Printed: the median milliseconds that a recorded stage
takes longer, those spent in writing the records down, and how long after the last stage MLflow knew
everything. The target is at most 100 ms a stage.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace
from tasks.tracking.spool import Spool
from tests.servers.tracking_server import MlflowServer


@stage_task(version=1, produces="policy")
def busy(
    source: Artifact, *, seed: int, seconds: float, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Compute for a while in Python, with twenty steps of two figures, and leave a file."""
    for step in range(20):
        end = time.thread_time() + seconds / 20
        while time.thread_time() < end:
            sum(range(1000))
        log({"loss": 1.0 / (step + 1), "lr": 0.1}, step=step)
    (workspace.output / "weights.bin").write_bytes(bytes([seed % 256]) * 1000)
    return {"score": 1.0}


class Stopwatch:
    """Adds up the time spent in spooling."""

    def __init__(self) -> None:
        """Watch every event from now on."""
        self.seconds = 0.0
        add = Spool._add

        def watched(spool: Spool, *args: Any, **fields: Any) -> None:
            began = time.perf_counter()
            add(spool, *args, **fields)
            self.seconds += time.perf_counter() - began

        Spool._add = watched  # type: ignore[method-assign]


def measure(stages: int, seconds: float) -> None:
    """Print what recording costs."""
    Path("source.txt").write_text("hello")
    source, plain, recorded, watch = external_artifact("source.txt"), [], [], Stopwatch()
    with open_run("bench", config={}, config_text="", mlruns=Path("mlruns")):
        busy(source, seed=10_000, seconds=seconds)
        time.sleep(20)  # MLflow is imported once, by the recorder's thread
        spooled = watch.seconds
        for number in range(stages):
            recorded.append(timed(source, 2 * number, seconds))
            with entered(RunContext(current_home())):
                plain.append(timed(source, 2 * number + 1, seconds))
        spooled = 1000 * (watch.seconds - spooled) / stages
        last = time.perf_counter()
    late = time.perf_counter() - last
    more = statistics.median(recorded) - statistics.median(plain)
    print(f"a stage without records    {statistics.median(plain):8.1f} ms (median of {stages})")
    print(f"a stage with records       {statistics.median(recorded):8.1f} ms")
    print(f"in the flow's way          {more:8.1f} ms a stage (target 100)")
    print(f"of it in writing them down {spooled:8.1f} ms a stage (42 events)")
    print(f"MLflow knew everything     {late:8.1f} s after the last stage")


def timed(source: Artifact, seed: int, seconds: float) -> float:
    """Return the milliseconds of one stage call."""
    began = time.perf_counter()
    busy(source, seed=seed, seconds=seconds)
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of computing in each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MlflowServer(Path(folder, "server")) as server:
        os.environ |= {"MLFLOW_TRACKING_URI": server.url, "SPARRING_HOME": f"{folder}/home"}
        with chdir(folder):
            measure(options.stages, options.seconds)


if __name__ == "__main__":
    main()
