"""The folder a stage's attempt works in, with what earlier attempts left here or on the remote."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tasks.stages.call import StageCall
from tasks.stages.leases.lease import Lease
from tasks.stages.remote.parts import RemoteParts
from tasks.stages.runs.context import RunContext
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json, remove_tree, write_json
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace

_SPENT = "seconds.json"


def open_workspace(
    run: RunContext, call: StageCall, lease: Lease
) -> tuple[Workspace, Callable[[], None]]:
    """Make an attempt's folder and take over what earlier attempts finished, on any machine.

    Returns:
        The workspace; and what removes its parts from the remote, to be called when they are not
        needed any more.
    """
    folder = run.home.work / call.key
    own = folder / f"attempt-{lease.token}"
    earlier = [path for path in folder.glob("attempt-*") if path != own]
    mirror = None
    if run.remote is not None:
        mirror = RemoteParts(run.remote, call.key, lease.token, is_empty=lease.is_first)
    workspace = Workspace(own, guard=lease.check, mirror=mirror, claim=lease.claim)
    for sentence in workspace.adopt_parts(earlier):
        run.progress.note(call.title, sentence)
    if parts := workspace.part_names():
        run.progress.note(call.title, f"resumes from {len(parts)} finished parts")
    for path in earlier:
        remove_tree(path)
    return workspace, mirror.clear if mirror is not None else lambda: None


def spent_before(home: Home, key: str) -> float:
    """Return the seconds of earlier attempts at a key on this machine that ended unfinished."""
    try:
        return float(read_json(home.work / key / _SPENT))
    except (OSError, StorageError, TypeError, ValueError):
        return 0.0


def keep_spent(home: Home, key: str, seconds: float) -> None:
    """Write down the seconds that all attempts at a key have taken; the next one adds its own."""
    with suppress(OSError, StorageError):  # a full disk must not hide why the attempt ended
        write_json(home.work / key / _SPENT, round(seconds, 3))


def clear_work(run: RunContext, key: str) -> None:
    """Remove the workspaces of a key that is done; one killed after its commit left them."""
    with suppress(FileNotFoundError):  # two processes may find the work done at once
        remove_tree(run.home.work / key)
