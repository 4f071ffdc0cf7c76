"""What it costs to run a flow again when everything is done.

    python benchmarks/cached_rerun.py [--config apo-tiny] [--here] [--repeats 5]

Runs the flow in a folder of its own and then again; with `--here` the run that was finished in the
current folder counts as the first one. Printed: the seconds of both, and which heavy libraries the
second imported. The target is under 10 s, and none of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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


def timed_run(config: str, folder: str, *, spy: bool) -> tuple[float, str, str]:
    """Run the flow `apo`; return its seconds, its output and the last line on stderr."""
    began = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            *(("-c", SPY) if spy else ("-m", "flows.cli")),
            "run",
            "apo",
            "-c",
            config,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        errors="replace",
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"sparring ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done.stdout, (done.stderr.strip().splitlines() or [""])[-1]


def measure(config: str, folder: str, *, here: bool, repeats: int) -> None:
    """Print what the first run and the runs after it cost."""
    if not here:
        first, _, _ = timed_run(config, folder, spy=False)
        print(f"first run                 {first:8.2f} s")
    again = [timed_run(config, folder, spy=True) for _ in range(repeats)]
    if "stages are done already, nothing ran" not in again[-1][1]:
        sys.exit(f"not everything was done in {folder}; finish the run first")
    seconds = [one[0] for one in again]
    print(
        f"run again, median of {repeats:2d}    {statistics.median(seconds):8.2f} s"
        f"   (slowest {max(seconds):.2f}, target 10)"
    )
    if not here:
        print(f"share of the first run    {statistics.median(seconds) / first:8.2%}")
    print(again[-1][2])


def main() -> None:
    """Measure, in a folder of its own unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="apo-tiny")
    parser.add_argument("--here", action="store_true", help="the run is finished already, here")
    parser.add_argument("--repeats", type=int, default=5)
    words = parser.parse_args()
    config = str(Path(words.config).absolute()) if Path(words.config).is_file() else words.config
    if words.here:
        measure(config, ".", here=True, repeats=words.repeats)
        return
    folder = tempfile.mkdtemp(prefix="sparring-bench-")
    os.environ["SPARRING_HOME"] = f"{folder}/home"
    try:
        measure(config, folder, here=False, repeats=words.repeats)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
