"""Asked to end at a random moment by a random signal, a command ends soon and leaves nothing.

SPARRING_INTERRUPTS says how many, and SPARRING_KILL_SEED which moments; each is printed:

    SPARRING_INTERRUPTS=40 python -m pytest -m slow -s tests/flows/test_random_interrupts.py
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from flows.servers.service import all_records, read_record
from tasks.stages.runs.run_store import list_runs
from tasks.storage.fencing import read_lease
from tests.databases import Databases
from tests.flows.command import SMALL, Shell, sets, wait_until
from tests.flows.killing import survivors
from tests.flows.test_apo import ask

INTERRUPTS = int(os.environ.get("SPARRING_INTERRUPTS", "200"))
SEED = int(os.environ.get("SPARRING_KILL_SEED", "0"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST = 30.0
"""Seconds into a command: about as long as a run of the small configuration takes."""
AT_WORK = ("RUNNING", "PENDING", "CANCELLING", "SCHEDULED")
STACKS = (
    "import faulthandler, signal; faulthandler.register(signal.SIGUSR1, all_threads=True); "
    "from flows.cli.__main__ import entry; entry()"
)
"""The command, which shows where all its threads are when a test asks for it."""


@pytest.fixture(autouse=True)
def heard() -> None:
    """Let commands hear a lost terminal, whatever the tests were started by."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def leftovers(shell: Shell) -> list[str]:
    """Return what a command that has ended left at work: processes, leases, runs, a server."""
    found = [f"process {' '.join(one.cmdline())}" for one in survivors(shell, patience=0.0)]
    for path in shell.home.leases.glob("*.json") if shell.home.leases.is_dir() else ():
        if read_lease(path).get("owner") is not None:
            found.append(f"lease {path.name}")
    if shell.home.runs.is_dir():
        found += [
            f"run {one.id} is running" for one in list_runs(shell.home) if one.status == "running"
        ]
    servers = all_records(shell.home).items()
    return found + [f"{name} server" for name, record in servers if record.get("pid")]


def ended(process: subprocess.Popen[str], seconds: float = 180.0) -> tuple[str, str]:
    """Return what a command printed that was told to end; one that hangs shows its threads.

    The step that is to be finished may be the first of a training, which imports a great deal.
    """
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        time.sleep(2)
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still there:\n{out}\n{err[-20_000:]}") from None


def named_run(text: str) -> str | None:
    """Return the run that a command's last words name, if they name one."""
    found = re.search(r"`sparring resume (\S+)` goes on", text)
    return found.group(1) if found else None


def interrupt_at(
    shell: Shell, seconds: float, number: signal.Signals, seed: int
) -> tuple[int, float]:
    """Start a run and send a signal; return its exit code, and how long it lived after that."""
    before = {run.id for run in list_runs(shell.home)} if shell.home.runs.is_dir() else set()
    process = shell.start("run", "apo", "-c", str(SMALL), *sets(f"seed={seed}"), program=STACKS)
    time.sleep(seconds)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = ended(process)
    took = time.monotonic() - sent
    told = f"{number.name} after {seconds:.2f} s, exit code {process.returncode}:\n{out}\n{err}"
    assert process.returncode in (0, 130) or (seconds < 2 and process.returncode < 0), told
    assert "Traceback" not in err or seconds < 2, told
    if process.returncode == 130:
        assert "sparring: stopped" in err, told
    after = list_runs(shell.home) if shell.home.runs.is_dir() else []
    own = {run.id for run in after} - before
    assert named_run(err) in {None, *own}, told
    assert not (left := leftovers(shell)), f"{left}\n{told}"
    return process.returncode, took


def test_a_terminal_lost_while_the_server_starts_leaves_nothing(
    fresh: Shell, databases: Databases
) -> None:
    databases.copy("prefect", fresh.home.prefect)
    process = fresh.start("run", "apo", "-c", str(SMALL))
    wait_until(lambda: "pid" in read_record(fresh.home, "prefect"), 60)
    process.send_signal(signal.SIGHUP)
    _, err = ended(process)
    assert process.returncode == 130 and err.splitlines()[-1] == "sparring: stopped"
    assert leftovers(fresh) == []


@pytest.mark.slow
def test_interrupts_at_random_moments_leave_nothing(tmp_path: Path, databases: Databases) -> None:
    shell, draws, seed = Shell(tmp_path), random.Random(SEED), 0
    databases.copy("prefect", shell.home.prefect)
    databases.copy("mlflow", tmp_path / "mlruns")
    codes, times = Counter[int](), []
    for one in range(INTERRUPTS):
        number, seconds = draws.choice(SIGNALS), draws.uniform(0, draws.choice((10.0, LONGEST)))
        code, took = interrupt_at(shell, seconds, number, seed)
        codes[code] += 1
        times.append(took)
        seed += code == 0  # it came to its end, and another one begins
        print(f"{one:4}: {number.name:7} after {seconds:5.2f} s: {code}, {took:.1f} s", flush=True)
    shell("up")
    shell("down")
    prefect, mlflow = shell.home.prefect / "prefect.db", tmp_path / "mlruns" / "mlflow.db"
    for table in ("flow_run", "task_run"):
        states = {kind for (kind,) in ask(prefect, f"select state_type from {table}")}
        assert not states & set(AT_WORK), table
    assert {word for (word,) in ask(mlflow, "select status from runs")} <= {"FINISHED", "KILLED"}
    usual, longest = sorted(times)[len(times) // 2], max(times)
    print(f"exit codes {dict(codes)}; {usual:.1f} s to the end as a rule, {longest:.1f} s at most")
