"""The folder a stage's attempt works in, with what earlier attempts left here or on the remote."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tasks.stages.call import StageCall
from tasks.stages.leases.lease import Lease
from tasks.stages.remote.parts import RemoteParts
from tasks.stages.runs.context import RunContext
from tasks.storage.files import remove_tree
from tasks.storage.workspace import Workspace


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


def clear_work(run: RunContext, key: str) -> None:
    """Remove the workspaces of a key that is done; one killed after its commit left them."""
    with suppress(FileNotFoundError):  # two processes may find the work done at once
        remove_tree(run.home.work / key)
