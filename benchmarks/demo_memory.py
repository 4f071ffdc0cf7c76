"""The most memory that a run takes: all of its processes together, without the servers.

    python benchmarks/demo_memory.py [--config apo-tiny] [--every 0.1]

Runs the flow in a folder of its own. Printed: the peak of the sum of the resident sizes (pages that
two processes share count twice), the stage in which it was reached, the servers' own peak, and the
seconds of the run. The target is 3 GB for the demo.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import config_path, own_folder, sparring
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import list_runs
from tasks.storage.files import read_json
from tasks.storage.home import Home


def watch(config: str, home: Home, every: float) -> None:
    """Run the flow, look at its processes until it ends, and print the peaks."""
    began = time.perf_counter()
    peak, servers_peak, stage = 0, 0, ""
    with open("output.txt", "wb") as output:
        run = sparring("run", "apo", "-c", config, stdout=output, stderr=subprocess.STDOUT)
        while run.poll() is None:
            ours, servers = resident(run.pid, home)
            servers_peak = max(servers_peak, servers)
            if ours > peak:
                peak, stage = ours, current_stage(home)
            time.sleep(every)
    if run.returncode:
        tail = Path("output.txt").read_text("utf-8", errors="replace")[-2000:]
        sys.exit(f"sparring ended with {run.returncode}:\n{tail}")
    print(f"peak RSS without servers  {peak / 1e9:8.2f} GB   (in {stage}, target 3)")
    print(f"peak RSS of the servers   {servers_peak / 1e9:8.2f} GB")
    print(f"the run took              {time.perf_counter() - began:8.1f} s")


def resident(root: int, home: Home) -> tuple[int, int]:
    """Return the bytes in memory of a run's processes, and of the servers it started."""
    ours = servers = 0
    server_ids = served(home)
    try:
        process = psutil.Process(root)
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for one in tree:
        try:
            size = one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        if one.pid in server_ids or set(server_ids) & {parent.pid for parent in one.parents()}:
            servers += size
        else:
            ours += size
    return ours, servers


def served(home: Home) -> set[int]:
    """Return the processes of the servers on record."""
    try:
        return {record.get("pid", -1) for record in read_json(home.servers).values()}
    except FileNotFoundError:
        return set()


def current_stage(home: Home) -> str:
    """Return the stage that the run is in."""
    runs = list_runs(home) if home.runs.is_dir() else []
    events = stage_events(home, runs[0].id) if runs else []
    return f"{events[-1]['stage']} {events[-1]['label']}".strip() if events else "start-up"


def main(config: str = "apo-tiny", every: float = 0.1) -> None:
    """Measure in a folder of its own; every so many seconds there is a look."""
    config = config_path(config)
    with own_folder() as folder:
        watch(config, Home(folder / "home"), every)


if __name__ == "__main__":
    typer.run(main)
