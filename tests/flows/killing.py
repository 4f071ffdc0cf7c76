"""Ends a run of `sparring` with SIGKILL at chosen moments, as a power cut or the kernel would."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import psutil

from tasks.storage.sealed import read_either
from tests.flows.command import Shell

_PATIENCE = 900.0
_IN_THE_LAST_STAGE = 0.3


class Moment(NamedTuple):
    """When to kill: a state of the work, so that the kills lie all over a run that starts again."""

    finished: int
    """Stages that are done by then."""
    seconds: float
    """Since the last of them was finished; since the start of the process when that is later."""
    last: int
    """Stages that are done when the last one begins."""


def random_moments(shell: Shell, count: int, seed: int) -> list[Moment]:
    """Draw moments, evenly over an uninterrupted run from its first to its last second.

    Args:
        shell: Where it ran; it was started as soon as this was made.
        count: How many, each from an equal slice of the run.
        seed: Of the draws.
    """
    began = shell.began
    done = [_when(event) for event in shell.events() if event["event"] == "finished"]
    draws = random.Random(seed)
    moments = []
    for number in range(count):
        at = began + (done[-1] - began) * (number + draws.random()) / count
        before = [time for time in done if time <= at]
        seconds = at - (before[-1] if before else began)
        moments.append(Moment(len(before), seconds, len(done) - 1))
    return moments


def kill_at(shell: Shell, process: Any, moment: Moment) -> bool:
    """Wait for a moment and kill; return whether the process was still at work.

    Args:
        shell: Where the run is.
        process: Of the command `sparring`.
        moment: When.
    """
    until = time.monotonic() + _PATIENCE
    while process.poll() is None and finished_stages(shell) < moment.finished:
        assert time.monotonic() < until, f"the run does not come to {moment}"
        time.sleep(0.05)
    began = time.monotonic()
    # A run that is faster this time must not get away: it is caught in its last stage.
    while process.poll() is None and time.monotonic() < began + moment.seconds:
        if finished_stages(shell) >= moment.last:
            time.sleep(min(_IN_THE_LAST_STAGE, moment.seconds))
            break
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    kill_all(shell, process)
    return True


def kill_all(shell: Shell, process: Any) -> None:
    """Kill a command and all its descendants but the servers, and prove that none is left."""
    for victim in _tree(shell, process.pid):
        victim.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    left = list(survivors(shell))
    assert not left, f"still there after SIGKILL: {[one.cmdline() for one in left]}"


def survivors(shell: Shell, patience: float = 5.0) -> Iterator[psutil.Process]:
    """Yield the processes that work with this state folder, other than its servers."""
    until = time.monotonic() + patience
    while found := list(_users_of(shell)):
        if time.monotonic() > until:
            yield from found
            return
        time.sleep(0.1)


def finished_stages(shell: Shell) -> int:
    """Return how many calls of stages came to their end, whichever attempt did them."""
    return len({f"{e['stage']}/{e['label']}" for e in shell.events() if _is_done(e)})


def ran_twice(events: list[dict[str, Any]]) -> list[str]:
    """Return the stages that were begun again after they had been finished."""
    finished: set[str] = set()
    again = []
    for event in events:
        if event["event"] == "started" and event["key"] in finished:
            again.append(f"{event['stage']} · {event['label']}")
        if event["state"] == "completed":
            finished.add(event["key"])
    return again


def seconds_of(shell: Shell) -> float:
    """Return how long an uninterrupted run took, from its start to the end of its last stage."""
    return _when(shell.events()[-1]) - shell.began


def _is_done(event: dict[str, Any]) -> bool:
    return event["event"] == "finished" and event["state"] in ("completed", "cached")


def _when(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _tree(shell: Shell, root: int) -> list[psutil.Process]:
    process = psutil.Process(root)
    servers = _servers(shell)
    # Stopped first, so that nothing is born between the count and the kill.
    process.suspend()
    children = process.children(recursive=True)
    return [one for one in (process, *children) if one.pid not in servers]


def _servers(shell: Shell) -> set[int]:
    """Return the processes of the servers that this state folder has on record."""
    try:
        records = read_either(shell.home.servers)
    except FileNotFoundError:
        return set()
    found: set[int] = set()
    for record in records.values():
        if psutil.pid_exists(record.get("pid", -1)):
            server = psutil.Process(record["pid"])
            found |= {server.pid, *(child.pid for child in server.children(recursive=True))}
    return found


def _users_of(shell: Shell) -> Iterator[psutil.Process]:
    servers = _servers(shell)
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("SPARRING_HOME") == str(shell.home.root)
            if is_ours and process.pid not in servers and process.status() != "zombie":
                yield process
        except psutil.Error:
            continue
