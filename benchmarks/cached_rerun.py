"""What it costs to run a flow again when everything is done.

    python benchmarks/cached_rerun.py [--config apo-tiny] [--here] [--repeats 5]

Runs the flow in a folder of its own and then again; with `--here` the run that was finished in the
current folder counts as the first one. Printed: the seconds of both, and which heavy libraries the
second imported. The target is under 10 s, and none of them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import config_path, own_folder, sparring

HEAVY = (
    "torch transformers tokenizers mlflow dvc accelerate deepspeed datasets matplotlib pandas numpy"
)
SPY = f"""
import atexit, sys
found = lambda: sorted(set("{HEAVY}".split()) & set(sys.modules))
atexit.register(lambda: print("imported:", ", ".join(found()) or "nothing heavy", file=sys.stderr))
from flows.cli.main import main
main()
"""


def timed_run(config: str, *start: str) -> tuple[float, str, str]:
    """Run the flow `apo`; return its seconds, its output and the last line on stderr."""
    began = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = sparring("run", "apo", "-c", config, start=start, errors="replace", **pipes)
    output, errors = run.communicate()
    seconds = time.perf_counter() - began
    if run.returncode:
        sys.exit(f"sparring ended with {run.returncode}:\n{errors[-2000:]}")
    return seconds, output, (errors.strip().splitlines() or [""])[-1]


def main(config: str = "apo-tiny", here: bool = False, repeats: int = 5) -> None:
    """Print what a first run costs and the runs after it; with --here it is finished already."""
    config = config_path(config)
    with nullcontext() if here else own_folder():
        if not here:
            first, _, _ = timed_run(config, "-m", "flows.cli")
            print(f"first run                 {first:8.2f} s")
        again = [timed_run(config, "-c", SPY) for _ in range(repeats)]
    if "stages are done already, nothing ran" not in again[-1][1]:
        sys.exit("not everything was done here; finish the run first")
    seconds = [one[0] for one in again]
    print(
        f"run again, median of {repeats:2d}    {median(seconds):8.2f} s"
        f"   (slowest {max(seconds):.2f}, target 10)"
    )
    if not here:
        print(f"share of the first run    {median(seconds) / first:8.2%}")
    print(again[-1][2])


if __name__ == "__main__":
    typer.run(main)
