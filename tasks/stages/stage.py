"""The wrapper that every stage call goes through.

Done before? Then its artifact is returned. Else: wait for the lease, resume from the parts that
earlier attempts finished, run the body, commit, and write down how it went.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tasks.stages.artifact import Artifact, committed_artifact
from tasks.stages.call import StageCall
from tasks.stages.commit import commit, withdraw
from tasks.stages.lease import Lease, acquire_lease
from tasks.stages.manifest import Manifest, damaged_files, environment, load_manifest
from tasks.stages.plan import plan_call
from tasks.stages.run_context import (
    RunContext,
    StageRecord,
    StageState,
    current_run,
    record_to_json,
)
from tasks.stages.signals import terminate_as_interrupt
from tasks.stages.stage_log import Listener, StageLog
from tasks.storage.errors import CorruptError, StorageError
from tasks.storage.files import remove_tree
from tasks.storage.journal import append_record
from tasks.storage.workspace import Workspace

_log = logging.getLogger("sparring.stages")
_STATUS = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def call_stage(call: StageCall, listener: Listener | None = None) -> tuple[Artifact, StageRecord]:
    """Return a stage's artifact, running its body if it is not done.

    Args:
        call: the stage and its arguments.
        listener: told of the body's progress, besides the run's own sink.

    Returns:
        The artifact (a pending one in planning mode) and the record of this call.

    Raises:
        LeaseLostError: when another attempt took over.
        BaseException: whatever the body raises; finished parts of its work are kept.
    """
    run = current_run()
    if run.mode == "plan":
        artifact = plan_call(run, call)
        return artifact, StageRecord(call.spec.name, call.label, artifact.key, "cached")
    if call.is_pending:
        raise TypeError(f"{call.title} was given an artifact that is only planned")
    started = time.monotonic()
    manifest, attempt = find_done(run, call), 0
    if manifest is None:
        manifest, attempt = _execute(run, call, started, listener)
    else:
        _clear_work(run, call.key)
    record = StageRecord(
        call.spec.name,
        call.label,
        call.key,
        "completed" if attempt else "cached",
        attempt,
        time.monotonic() - started,
        manifest.digest,
        manifest.metrics,
    )
    _finish(run, record)
    return committed_artifact(run.home, manifest, call.label), record


def find_done(run: RunContext, call: StageCall, *, quiet: bool = False) -> Manifest | None:
    """Return the manifest of a call that is done with all its files there.

    What is committed but not there any more is said aloud, unless `quiet`; the stage runs again.
    """
    try:
        manifest = load_manifest(run.home, call.spec.name, call.key)
    except CorruptError as error:
        if not quiet:
            run.progress.note(call.title, f"{error}; the stage runs again")
        return None
    if manifest is None:
        return None
    problems = damaged_files(run.home, manifest, verify=run.verify)
    if not problems:
        return manifest
    if quiet:
        return None
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    folder = manifest.folder(run.home)
    run.progress.note(call.title, f"{folder}: {problems[0]}{more}; the stage runs again")
    return None


def _execute(
    run: RunContext, call: StageCall, started: float, listener: Listener | None
) -> tuple[Manifest, int]:
    """Get the lease and run the body; attempt 0 means that somebody else finished meanwhile."""

    def say(text: str) -> None:
        run.progress.note(call.title, text)

    def done() -> Manifest | None:
        return find_done(run, call, quiet=True)

    with terminate_as_interrupt():
        lease = acquire_lease(run.home.leases, call.key, is_done=done, say=say)
        if isinstance(lease, Manifest):
            return lease, 0
        try:
            if manifest := done():
                return manifest, 0
            return _attempt(run, call, lease, started, listener), lease.token
        finally:
            lease.release()


def _attempt(
    run: RunContext, call: StageCall, lease: Lease, started: float, listener: Listener | None
) -> Manifest:
    """Run the body in a workspace of its own and commit what it leaves."""
    record = StageRecord(call.spec.name, call.label, call.key, "running", lease.token)
    log = StageLog(run, call, lease.token, listener)
    withdraw(run.home, call.spec.name, call.key, lease)
    try:
        workspace = _open_workspace(run, call, lease)
        _begin(run, call, record)
        injected = {"workspace": workspace, "log": log}
        wanted = {name: injected[name] for name in call.spec.injected}
        metrics = call.spec.body(**call.arguments, **wanted) or {}
        lease.check()
        draft = _draft(run, call, lease, metrics, time.monotonic() - started)
        manifest = commit(run.home, draft, workspace.output, lease)
    except BaseException as error:
        state: StageState = "failed" if isinstance(error, Exception) else "interrupted"
        seconds = time.monotonic() - started
        why = f"{type(error).__name__}: {error}"
        _finish(run, replace(record, state=state, seconds=seconds, error=why))
        raise
    log.keep(metrics)
    log.keep_files(manifest)
    _clear_work(run, call.key)
    return manifest


def _open_workspace(run: RunContext, call: StageCall, lease: Lease) -> Workspace:
    """Make the attempt's folder and take over what earlier attempts finished."""
    folder = run.home.work / call.key
    own = folder / f"attempt-{lease.token}"
    earlier = [path for path in folder.glob("attempt-*") if path != own]
    workspace = Workspace(own, guard=lease.check)
    for sentence in workspace.adopt_parts(earlier):
        run.progress.note(call.title, sentence)
    if parts := workspace.part_names():
        run.progress.note(call.title, f"resumes from {len(parts)} finished parts")
    for path in earlier:
        remove_tree(path)
    return workspace


def _clear_work(run: RunContext, key: str) -> None:
    """Remove the workspaces of a key that is done; one killed after its commit left them."""
    with suppress(FileNotFoundError):  # two processes may find the work done at once
        remove_tree(run.home.work / key)


def _draft(
    run: RunContext, call: StageCall, lease: Lease, metrics: Mapping[str, float], seconds: float
) -> Manifest:
    """Return the manifest of a finished body, still without digest and files."""
    return Manifest(
        key=call.key,
        stage=call.spec.name,
        version=call.spec.version,
        config=call.config,
        seed=call.seed,
        inputs={role: artifact.record() for role, artifact in call.inputs.items()},
        digest="",
        files=(),
        metrics={name: float(value) for name, value in metrics.items()},
        label=call.label,
        arguments=call.plain,
        provenance={
            "created": datetime.now(UTC).isoformat(),
            "run": run.run_id,
            "attempt": lease.token,
            "seconds": round(seconds, 3),
            **environment(),
        },
    )


def _begin(run: RunContext, call: StageCall, record: StageRecord) -> None:
    """Write down and tell that an attempt begins."""
    if run.ledger is not None:
        append_record(run.ledger, {"event": "started", **_stamped(record)})
    if run.spool is not None:
        tags = {
            "sparring.stage_name": call.spec.name,
            "sparring.label": call.label,
            "sparring.attempt": str(record.attempt),
            "mlflow.source.git.commit": environment()["git_commit"],
            **{f"sparring.input.{role}": item.digest for role, item in call.inputs.items()},
        }
        params = {"seed": call.seed, "version": call.spec.version, **call.plain}
        params |= call.config if isinstance(call.config, dict) else {"config": call.config}
        run.spool.stage_started(
            call.key, name=call.title, attempt=record.attempt, params=params, tags=tags
        )
    run.progress.stage_started(record)


def _finish(run: RunContext, record: StageRecord) -> None:
    """Write down and tell how a call ended; a full disk must not hide the body's own error."""
    run.records.append(record)
    try:
        if run.ledger is not None:
            append_record(run.ledger, {"event": "finished", **_stamped(record)})
        if run.spool is not None and record.state == "cached":
            run.spool.stage_skipped(record.key, name=record.title)
        elif run.spool is not None:
            tags = {"sparring.output.output": record.digest, "sparring.error": record.error[:500]}
            kept = {name: value for name, value in tags.items() if value}
            run.spool.stage_finished(record.key, _STATUS[record.state], tags=kept)
    except (OSError, StorageError) as error:
        _log.warning("%s: its end could not be written down: %s", record.title, error)
    run.progress.stage_finished(record)


def _stamped(record: StageRecord) -> dict[str, Any]:
    """Return a record for the journal with the time."""
    return {**record_to_json(record), "time": datetime.now(UTC).isoformat()}
