"""How much the MLflow records of a stage cost the flow that runs it.

    python benchmarks/tracking_overhead.py [--stages 40] [--seconds 0.5]

Starts a real MLflow server and runs stages that compute for a while, in turns with the recorder
telling it everything and without any record. Printed: the median milliseconds that a recorded stage
takes longer, those spent in writing the records down, and how long after the last stage MLflow knew
everything. The target is at most 100 ms a stage.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import own_folder, timed
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
            self.seconds += timed(partial(add, spool, *args, **fields))

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
            recorded.append(milliseconds(source, 2 * number, seconds))
            with entered(RunContext(current_home())):
                plain.append(milliseconds(source, 2 * number + 1, seconds))
        spooled = 1000 * (watch.seconds - spooled) / stages
        last = time.perf_counter()
    late = time.perf_counter() - last
    more = median(recorded) - median(plain)
    print(f"a stage without records    {median(plain):8.1f} ms (median of {stages})")
    print(f"a stage with records       {median(recorded):8.1f} ms")
    print(f"in the flow's way          {more:8.1f} ms a stage (target 100)")
    print(f"of it in writing them down {spooled:8.1f} ms a stage (42 events)")
    print(f"MLflow knew everything     {late:8.1f} s after the last stage")


def milliseconds(source: Artifact, seed: int, seconds: float) -> float:
    """Return the milliseconds of one stage call."""
    return 1000 * timed(partial(busy, source, seed=seed, seconds=seconds))


def main(stages: int = 40, seconds: float = 0.5) -> None:
    """Measure in a folder of its own stages that compute for so many seconds each."""
    with own_folder() as folder, MlflowServer(folder / "server") as server:
        os.environ["MLFLOW_TRACKING_URI"] = server.url
        measure(stages, seconds)


if __name__ == "__main__":
    typer.run(main)
