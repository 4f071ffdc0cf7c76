"""The wrapper that every stage call goes through.

Done before? Then its artifact is returned. Else: wait for the lease, resume from the parts that
earlier attempts finished, run the body, commit, and write down how it went.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tasks.processes.termination import heeding_stops, terminate_as_interrupt
from tasks.settings.errors import Awaited
from tasks.settings.passwords import without_passwords
from tasks.stages.artifact import EXTERNAL, Artifact, ArtifactLostError, committed_artifact
from tasks.stages.call import StageCall
from tasks.stages.commit import commit, withdraw
from tasks.stages.inputs import fetch_inputs
from tasks.stages.leases.gpus import gpus_here, visible_gpus
from tasks.stages.leases.lease import Lease
from tasks.stages.leases.remote_lease import acquire_everywhere
from tasks.stages.lineage.writing import record_lineage
from tasks.stages.log import StageLog
from tasks.stages.lookup import find_done
from tasks.stages.manifest import Manifest, environment, manifest_path
from tasks.stages.plan import plan_call, planned_artifact
from tasks.stages.remote.transfer import push_artifact
from tasks.stages.runs.context import (
    Listener,
    RunContext,
    StageRecord,
    StageState,
    current_chapter,
    current_run,
    record_to_json,
)
from tasks.stages.runs.tracking_events import log_stage_end, log_stage_start
from tasks.stages.workspace import clear_work, keep_spent, open_workspace, spent_before
from tasks.storage.errors import StorageError
from tasks.storage.files import remove_tree
from tasks.storage.journal import append_record
from tasks.tracking.remote.base import DamagedError

_log = logging.getLogger("sparring.stages")


def call_stage(call: StageCall, listener: Listener | None = None) -> tuple[Artifact, StageRecord]:
    """Return a stage's artifact; where it is not done its body runs, and `listener` hears how far.

    Returns:
        The artifact and the record of this call. The artifact is a pending one in planning mode,
        and while people are waited for, by this stage or by one whose output it needs.

    Raises:
        LeaseLostError: When another attempt took over.
        BaseException: Whatever the body raises; finished parts of its work are kept.
    """
    run = current_run()
    if run.mode == "plan":
        artifact = plan_call(run, call)
        return artifact, StageRecord(call.spec.name, call.label, artifact.key, "cached")
    if call.is_pending:
        return planned_artifact(run.home, call), _awaited_record(run, call)
    started = time.monotonic()
    manifest, attempt = _shared(run, call, find_done(run, call)), 0
    if manifest is None:
        try:
            manifest, attempt = _execute(run, call, started, listener)
        except Awaited:
            return planned_artifact(run.home, call), run.records[-1]
    else:
        clear_work(run, call.key)
    record = StageRecord(
        call.spec.name,
        call.label,
        call.key,
        "completed" if attempt else "cached",
        attempt,
        time.monotonic() - started,
        manifest.digest,
        manifest.metrics,
        gpus=_gpus(run, call) if attempt else 0,
        chapter=current_chapter(),
    )
    _finish(run, call, record, manifest)
    return committed_artifact(run.home, manifest, call.label), record


def _awaited_record(run: RunContext, call: StageCall) -> StageRecord:
    """Return the record of a call that cannot be made before a stage of this run is answered."""
    if not run.awaits:
        raise TypeError(f"{call.title} was given an artifact that is only planned")
    return StageRecord(call.spec.name, call.label, "", "waiting", error=run.awaits[0].title)


def _shared(run: RunContext, call: StageCall, manifest: Manifest | None) -> Manifest | None:
    """Push what is done unless it was; what is found damaged here does not count as done."""
    if manifest is None or run.remote is None:
        return manifest
    try:
        return push_artifact(run.home, run.remote, manifest)[0]
    except DamagedError as error:
        run.progress.note(call.title, f"{error}; the stage runs again")
        remove_tree(manifest_path(run.home, manifest.stage, manifest.key))
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
        lease = acquire_everywhere(run.home, run.remote, call.key, is_done=done, say=say)
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
    gpus, chapter = _gpus(run, call), current_chapter()
    record = StageRecord(
        call.spec.name, call.label, call.key, "running", lease.token, gpus=gpus, chapter=chapter
    )
    log = StageLog(run, call, lease.token, listener)
    withdraw(run.home, call.spec.name, call.key, lease)
    before = spent_before(run.home, call.key)
    try:
        workspace, clear_parts = open_workspace(run, call, lease)
        _begin(run, call, record)
        fetch_inputs(run, call, _make_again)
        injected = {"workspace": workspace, "log": log}
        wanted = {name: injected[name] for name in call.spec.injected}
        with visible_gpus(gpus, log.note), heeding_stops():
            metrics = call.spec.body(**call.arguments, **wanted) or {}
        draft = _draft(run, call, lease, metrics, before + time.monotonic() - started)
        manifest = commit(run.home, draft, workspace.output, lease, run.remote, clear_parts)
    except BaseException as error:
        seconds = time.monotonic() - started
        keep_spent(run.home, call.key, before + seconds)
        state, why = _said_of(error)
        _finish(run, call, replace(record, state=state, seconds=seconds, error=why))
        raise
    log.record(metrics)
    log.record_files(manifest)
    record_lineage(run, call.title, call.key)
    clear_work(run, call.key)
    return manifest


def _said_of(error: BaseException) -> tuple[StageState, str]:
    """Return how a body ended, and why, for its record."""
    if isinstance(error, Awaited):
        return "waiting", str(error)
    state: StageState = "failed" if isinstance(error, Exception) else "interrupted"
    return state, without_passwords(f"{type(error).__name__}: {error}")


def _gpus(run: RunContext, call: StageCall) -> int:
    """Return how many GPUs a call leases here."""
    return gpus_here(call.gpus) if run.leases_gpus else 0


def _make_again(run: RunContext, lost: ArtifactLostError) -> None:
    """Run an earlier stage of this run again because its output is gone everywhere."""
    call = run.calls.get(lost.key)
    if call is None:
        raise lost
    run.progress.note(call.title, f"{lost}; the stage runs again")
    call_stage(call)


def _draft(
    run: RunContext, call: StageCall, lease: Lease, metrics: Mapping[str, float], seconds: float
) -> Manifest:
    """Return the manifest of a finished body, still without digest and files."""
    return Manifest(
        key=call.key,
        stage=call.spec.name,
        version=call.spec.version,
        config=call.key_config,
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
            "produces": call.spec.produces,
            "external": {
                role: artifact.label
                for role, artifact in call.inputs.items()
                if artifact.stage == EXTERNAL
            },
            **environment(),
        },
    )


def _begin(run: RunContext, call: StageCall, record: StageRecord) -> None:
    """Write down and tell that an attempt begins."""
    if run.journal is not None:
        append_record(run.journal, {"event": "started", **_stamped(record)})
    log_stage_start(run, call, record)
    run.progress.stage_started(record)


def _finish(
    run: RunContext, call: StageCall, record: StageRecord, manifest: Manifest | None = None
) -> None:
    """Write down and tell how a call ended; a full disk must not hide the body's own error."""
    run.records.append(record)
    try:
        if run.journal is not None:
            append_record(run.journal, {"event": "finished", **_stamped(record)})
        log_stage_end(run, call, record, manifest)
    except (OSError, StorageError) as error:
        _log.warning("%s: its end could not be written down: %s", record.title, error)
    run.progress.stage_finished(record)


def _stamped(record: StageRecord) -> dict[str, Any]:
    """Return a record for the journal with the time."""
    return {**record_to_json(record), "time": datetime.now(UTC).isoformat()}
