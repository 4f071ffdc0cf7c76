"""What must hold after a trial; each rule returns sentences about what does not."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.stages.leases.lease import owner_silence_of
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import Run, read_runs
from tasks.storage.fencing import read_lease
from tests.flows.command import Shell
from tests.flows.killing import ran_twice
from tests.torture.commands import HUNG, Outcome, left_in

CODES = (0, 1, 2, 3, 4, 130)
"""The exit codes that the command line promises."""
_AT_WORK = ("RUNNING", "PENDING", "CANCELLING")
_PATIENCE = 15.0


def ended_well(outcome: Outcome, codes: tuple[int, ...] = CODES) -> Iterator[str]:
    """It came to its end with a known exit code, and shows nobody a traceback."""
    shown = f"`{' '.join(outcome.words[:3])}`"
    if outcome.code == HUNG:
        yield f"{shown} hung"
    elif outcome.code not in codes:
        yield f"{shown} ended with {outcome.code}, not {codes}: {outcome.sentence}"
    if "Traceback (most recent call last)" in outcome.text:
        yield f"{shown} shows a traceback: {outcome.sentence}"
    if outcome.code not in (0, 130) and not outcome.err.strip():
        yield f"{shown} ended with {outcome.code} without a word"


def same_digests(shell: Shell, expected: Mapping[str, str], *, whole: bool = True) -> Iterator[str]:
    """Every output is there and what the undisturbed run made; not `whole`: none is another."""
    found = shell.finished_keys()
    for name, digest in sorted(found.items()):
        if name in expected and digest != expected[name]:
            yield f"{name} has the digest {digest}, undisturbed {expected[name]}: a wrong result"
    for name in sorted(expected.keys() - found.keys()) if whole else ():
        yield f"{name} is not finished"
    for name in sorted(found.keys() - expected.keys()) if whole else ():
        yield f"{name} was finished and is none of the undisturbed run's"


def whole_outputs(shell: Shell, *, verify: bool) -> Iterator[str]:
    """What a manifest calls finished lies there as it says."""
    for one in list_manifests(shell.home):
        for problem in damaged_files(shell.home, one, verify=verify):
            yield f"{one.stage}/{one.key[:12]}: {problem}"


def nothing_twice(shell: Shell) -> Iterator[str]:
    """No stage that a run had finished was begun again in it."""
    for one in runs_of(shell):
        for title in ran_twice(stage_events(shell.home, one.id)):
            yield f"{title} ran again in {one.id} after it had been finished"


def nothing_left(
    shell: Shell, prefect_db: Path, before: frozenset[str], damaged: str = ""
) -> Iterator[str]:
    """No process, lease or running record is left.

    Args:
        shell: Where.
        prefect_db: The database of the Prefect server.
        before: What was at work in it before the trial.
        damaged: Name of a file that the trial damaged: a lease counts as held for a while then.
    """
    for line in left_in(shell.folder):
        yield f"a process is left: {line}"
    for path in sorted(shell.home.leases.glob("*.json")):
        if path.name == damaged:
            continue
        # A dead owner's is free for whoever comes next; a done key has no next one.
        if owner_silence_of(read_lease(path)) not in (None, math.inf):
            yield f"the lease {path.name} is held"
    for one in runs_of(shell):
        if one.status == "running":
            yield f"the run {one.id} is running"
    mlflow = shell.folder / "mlruns" / "mlflow.db"
    for name in sorted(_asked(mlflow, "select name from runs where status = 'RUNNING'")):
        yield f"MLflow's run {name} is RUNNING"
    until = time.monotonic() + _PATIENCE
    # The server writes states down in the background.
    while (left := at_work(prefect_db) - before) and time.monotonic() < until:
        time.sleep(0.5)
    yield from (f"Prefect's {name}" for name in sorted(left))


def at_work(prefect_db: Path) -> frozenset[str]:
    """Return what a Prefect server believes to be at work."""
    states = ", ".join(f"'{state}'" for state in _AT_WORK)
    found = [
        f"{table} {name} is at work"
        for table in ("flow_run", "task_run")
        for name in _asked(
            prefect_db,
            f"select name || ' ' || id || ' ' || state_type from {table} "
            f"where state_type in ({states})",
        )
    ]
    return frozenset(found)


def runs_of(shell: Shell) -> list[Run]:
    """Return the runs on record, the newest first, each as its record says."""
    return read_runs(shell.home)[0] if shell.home.runs.is_dir() else []


def _asked(database: Path, query: str) -> set[str]:
    """Return the first column of what a database answers; nothing where there is none."""
    if not database.is_file():
        return set()
    link = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        return {str(row[0]) for row in link.execute(query)}
    finally:
        link.close()
