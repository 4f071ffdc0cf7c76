"""Whether a stage is done: here, on the remote, or not."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.stages import manifest as manifests
from tasks.stages.call import StageCall
from tasks.stages.manifest import Manifest
from tasks.stages.remote.known_copies import is_pushed
from tasks.stages.remote.transfer import (
    fetch_manifest,
    finish_push,
    restore_from_cache,
    restore_output,
)
from tasks.stages.retention.dropped import dropped_mark, mark_used
from tasks.stages.runs.context import RunContext
from tasks.storage.errors import CorruptError
from tasks.storage.files import remove_tree
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.dvc_store import dvc_store
from tasks.tracking.store.trash import trash_place


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What is known of one stage."""

    manifest: Manifest | None
    """The manifest of the finished stage; None when it has to run."""
    is_here: bool = False
    """Whether all its files are on this machine."""
    is_remote: bool = False
    """Whether the remote was asked and has it."""
    problem: str = ""
    """The reason why what this machine has is not enough; empty where it is, or has nothing."""
    is_in_trash: bool = False
    """Whether it has to be taken out of the trash first."""


def find_status(
    home: Home, remote: Remote | None, stage: str, key: str, *, verify: bool = False
) -> StageStatus:
    """Find out whether a stage is done; the remote is asked only if it is not whole here.

    A file that changed since it was read last is read; with `verify` every one is.
    """
    problem = ""
    try:
        manifest = manifests.load_manifest(home, stage, key)
    except CorruptError as error:
        manifest, problem = None, str(error)
    if manifest is not None:
        problems = list(manifests.content_damage(home, manifest, again=verify).values())
        if not problems:
            return StageStatus(manifest, is_here=True)
        if not manifest.folder(home).exists() and trash_place(manifest.folder(home)).is_dir():
            return StageStatus(manifest, is_here=True, is_in_trash=True)
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        dropped = None if manifest.folder(home).exists() else dropped_mark(home, manifest)
        problem = str(dropped or f"its output is damaged: {problems[0]}{more}")
    theirs = None if remote is None else fetch_manifest(home, remote, stage, key)
    if theirs is None:
        return StageStatus(None, problem=problem)
    is_here = manifest is None and not manifests.content_damage(home, theirs, again=verify)
    return StageStatus(theirs, is_here, True, problem)


def find_done(run: RunContext, call: StageCall, *, quiet: bool = False) -> Manifest | None:
    """Return the manifest of a call that is done, with all its files here or on the remote.

    What is committed but not whole any more is said aloud, unless `quiet`; it comes from the remote
    or the stage runs again. The run remembers the call, should its output be lost later.
    """
    run.calls[call.key] = call
    mark_used(run.home, call.spec.name, call.key)
    _repair(run, call)
    status = find_status(run.home, run.remote, call.spec.name, call.key)
    manifest = status.manifest
    if status.is_in_trash and manifest is not None:
        restore_output(run.home, manifest)
        run.progress.note(call.title, "taken back from the trash")
    if manifest is not None and status.is_here:
        store, folder = dvc_store(run.home.store), manifest.folder(run.home)
        if store.mend_pointer(folder, manifest.digest, manifest.files):
            run.progress.note(call.title, f"{folder}.dvc was damaged or gone; written anew")
    if status.is_remote and run.remote and not is_pushed(run.home, run.remote, call.key):
        finish_push(run.home, run.remote, call.key)
    if manifest is not None and not status.is_here:
        for problem in _discard_damaged(run, manifest):
            run.progress.note(call.title, f"{problem}; it is taken from the remote when needed")
    elif manifest is None and status.problem and not quiet:
        folder = manifests.artifact_folder(run.home, call.spec.name, call.key)
        run.progress.note(call.title, f"{folder}: {status.problem}; the stage runs again")
    return manifest


def _discard_damaged(run: RunContext, manifest: Manifest) -> list[str]:
    """Remove the files that are here and wrong, so that good ones can come from the remote."""
    problems, folder = [], manifest.folder(run.home)
    for path, problem in manifests.content_damage(run.home, manifest).items():
        if (folder / path).exists():
            remove_tree(folder / path)
            problems.append(f"{folder}: {problem}")
    return problems


def _repair(run: RunContext, call: StageCall) -> None:
    """Replace damaged files of a call's output by good copies in DVC's cache, where it has any.

    With `run.verify` all are read, and nothing that was remembered of damaged ones is left.
    """
    try:
        manifest = manifests.load_manifest(run.home, call.spec.name, call.key)
    except CorruptError:
        return
    if manifest is not None and manifest.folder(run.home).is_dir():
        for problem in restore_from_cache(run.home, manifest, again=run.verify):
            run.progress.note(call.title, f"{problem}; a good copy was in the store's cache")
