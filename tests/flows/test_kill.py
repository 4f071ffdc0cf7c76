"""Killed at random moments and resumed each time, a run ends as if nothing had happened.

SPARRING_KILL_CONFIG (a config by path or name) and SPARRING_KILLS choose another run of the slow
test, and SPARRING_KILL_SEED other moments:

    SPARRING_KILLS=20 python -m pytest -m slow -s tests/flows/test_kill.py
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell
from tests.flows.killing import (
    Moment,
    finished_stages,
    kill_at,
    ran_twice,
    random_moments,
    seconds_of,
)

SEED = int(os.environ.get("SPARRING_KILL_SEED", "0"))


class Reference(NamedTuple):
    """A run that nobody interrupted."""

    shell: Shell
    config: str
    moments: list[Moment]


def killed_run(reference: Reference) -> tuple[Shell, list[int]]:
    """Do the same in another state folder, killed at each moment; resume it to its end.

    Returns:
        Its shell, and how many stages were done at each kill.
    """
    # The same current folder and data: only then are the keys of the stages equal.
    shell = replace(reference.shell, state="killed")
    done_at: list[int] = []
    for moment in reference.moments:
        process = shell.start(*_next_words(shell, reference.config))
        assert kill_at(shell, process, moment), f"it ended before {moment}"
        done_at.append(finished_stages(shell))
        damaged = [one for one in list_manifests(shell.home) if damaged_files(shell.home, one)]
        assert not damaged, "what is committed is whole after a kill"
    shell(*_next_words(shell, reference.config))
    return shell, done_at


def _next_words(shell: Shell, config: str) -> tuple[str, ...]:
    # Killed before its run was on record, a command is simply given again.
    if shell.home.runs.is_dir() and list_runs(shell.home):
        return ("resume", "latest")
    return ("run", "apo", "-c", config)


def check_like_undisturbed(reference: Reference, killed: Shell) -> int:
    """Compare the two ends; return how many attempts at stages the kills cost."""
    ran = {f"{event['stage']}/{event['key']}" for event in reference.shell.events()}
    digests = reference.shell.finished_keys()
    assert killed.finished_keys() == {name: digests[name] for name in ran}
    (run,) = list_runs(killed.home)
    assert run.status == "completed"
    events = killed.events()
    assert ran_twice(events) == []
    for manifest in list_manifests(killed.home):
        assert not damaged_files(killed.home, manifest, verify=True)
    starts = [event for event in events if event["event"] == "started"]
    return len(starts) - len({event["key"] for event in starts})


def kill_and_compare(shell: Shell, config: str, kills: int) -> None:
    """Do all of it after an undisturbed run, and print one line with the figures."""
    reference = Reference(shell, config, random_moments(shell, kills, SEED))
    killed, done_at = killed_run(reference)
    again = check_like_undisturbed(reference, killed)
    print(
        f"\n{Path(config).stem}: {kills} kills at {done_at} of {finished_stages(shell)} stage "
        f"calls; {again} unfinished attempts begun again, no finished stage run twice, "
        f"{len(killed.finished_keys())} digests equal to those of the undisturbed run of "
        f"{seconds_of(shell):.0f} s"
    )


def begin_half_done(shell: Shell, state: str) -> None:
    """Make a state folder that has the first half of the stages of a run, and no run."""
    half = replace(shell, state=state)
    left = shutil.ignore_patterns(
        "runs", "aliases", "spool", "leases", "work", "prefect", "*servers*"
    )
    shutil.copytree(shell.home.root, half.home.root, symlinks=True, ignore=left)
    done = [event["key"] for event in shell.events() if event["event"] == "finished"]
    for one in list_manifests(half.home):
        if one.key not in done[: len(done) // 2]:
            (half.home.manifests / one.stage / f"{one.key}.json").unlink()


def test_a_kill_of_a_small_run_changes_nothing(finished: Shell, prefect_server: str) -> None:
    """Its second half: the slow test kills a whole one."""
    served = replace(finished, variables={"PREFECT_API_URL": prefect_server})
    begin_half_done(served, "killed")
    kill_and_compare(served, str(SMALL), 1)


@pytest.mark.slow
def test_many_kills_of_the_demo_change_nothing(tmp_path: Path) -> None:
    config = os.environ.get("SPARRING_KILL_CONFIG", "apo-tiny")
    if Path(config).is_file():
        config = str(Path(config).absolute())
    shell = Shell(tmp_path, state="undisturbed")
    shell("run", "apo", "-c", config)
    kill_and_compare(shell, config, int(os.environ.get("SPARRING_KILLS", "20")))
