"""A program of a block ends with it and with the process that runs the block, with all it began."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tasks.processes import reaper
from tasks.processes.child import Child, child_process
from tasks.settings.errors import ConfigError

# It starts another one in a session of its own, which no signal to a group reaches.
FAMILY = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


def family(child: Child) -> list[psutil.Process]:
    """The reaper, the program and the program's child, once all of them run."""
    while child.tail() != "ready":
        assert child.exit_code() is None, child.tail()
        time.sleep(0.01)
    found = psutil.Process(child.pid)
    return [found, *found.children(recursive=True)]


def are_gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@contextmanager
def running(folder: Path) -> Iterator[list[psutil.Process]]:
    command = [sys.executable, "-c", FAMILY]
    with child_process(command, log=folder / "log", grace=0.2) as child:
        yield family(child)


def test_it_ends_with_the_block_though_it_ignores_sigterm(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the work failed"), running(tmp_path) as processes:
        assert len(processes) == 3
        assert len({os.getsid(process.pid) for process in processes} | {os.getsid(0)}) == 3
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
        raise RuntimeError("the work failed")
    assert are_gone(processes, 0)


_PARENT = """
import sys, time
from pathlib import Path
from tests.tasks.processes.test_child import running
with running(Path(sys.argv[1])) as processes:
    print(*[process.pid for process in processes], flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["the parent", "the reaper"])
def test_nothing_outlives_a_killed_parent(tmp_path: Path, victim: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    watcher, program, *others = map(psutil.Process, map(int, parent.stdout.readline().split()))
    try:
        if victim == "the parent":
            parent.kill()
            assert are_gone([watcher, program, *others], 20)
        else:
            watcher.kill()
            assert are_gone([program], 20)
    finally:
        parent.kill()
        parent.wait()
        for process in [watcher, program, *others]:
            if process.is_running():
                process.kill()


@pytest.mark.parametrize(("ending", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_it_says_how_a_program_ended_that_ended_at_once(
    tmp_path: Path, ending: str, code: int
) -> None:
    with child_process(["sh", "-c", f"echo $SEEN; {ending}"], log=tmp_path / "log",
                       environment={"SEEN": "here"}) as child:  # fmt: skip
        while child.exit_code() is None:
            time.sleep(0.01)
        assert (child.exit_code(), child.tail()) == (code, "here")


def test_a_program_that_is_missing_is_found_before_anything_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="no program 'no-such-program'"),
        child_process(["no-such-program"], log=tmp_path / "log"),
    ):
        pass
    assert not (tmp_path / "log").exists()


def test_the_reaper_runs_where_the_project_cannot_be_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-P", reaper.__file__, str(os.getpid()), "1", "sh", "-c", "exit 5"]
    nowhere = {"PATH": os.environ["PATH"]}
    assert subprocess.run(command, cwd=tmp_path, env=nowhere, check=False).returncode == 5
