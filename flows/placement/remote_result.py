"""What a run keeps of a stage call that another process makes for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from tasks.settings import errors
from tasks.settings.errors import SparringError, StageError
from tasks.settings.passwords import without_passwords
from tasks.stages.artifact import Artifact, committed_artifact
from tasks.stages.call import StageCall
from tasks.stages.lookup import find_done
from tasks.stages.manifest import Manifest
from tasks.stages.runs.context import (
    RunContext,
    StageRecord,
    StageState,
    current_chapter,
    record_to_json,
)
from tasks.storage.journal import append_record

MOST_ATTEMPTS = 4
"""Times that one call is given to another process: the first, and again after that one died."""


def made_elsewhere(
    run: RunContext, call: StageCall, make: Callable[[], int | None], gpus: int
) -> tuple[Artifact, StageRecord]:
    """Have a call made by another process, which tells MLflow of it, and write down how it ended.

    `make` waits until it is made; it returns the number of the attempt, 0 when it had been done
    before, None when nobody knows. `gpus` are so many as it holds there.

    Raises:
        StageError: The other process says that it is made, and its result is not there.
        BaseException: Whatever `make` raises.
    """
    started = time.monotonic()
    chapter = current_chapter()
    record = StageRecord(
        call.spec.name, call.label, call.key, "running", gpus=gpus, chapter=chapter
    )
    run.calls[call.key] = call
    _tell(run, "started", record)
    try:
        attempt = make()
        manifest = _result(run, call)
    except BaseException as error:
        state: StageState = "failed" if isinstance(error, Exception) else "interrupted"
        why = without_passwords(f"{type(error).__name__}: {error}")
        seconds = time.monotonic() - started
        _tell(run, "finished", replace(record, state=state, seconds=seconds, error=why))
        raise
    if attempt is None:
        attempt = int(manifest.provenance.get("attempt", 1))
    record = replace(
        record,
        state="completed" if attempt else "cached",
        attempt=attempt,
        seconds=time.monotonic() - started,
        digest=manifest.digest,
        metrics=manifest.metrics,
    )
    _tell(run, "finished", record)
    return committed_artifact(run.home, manifest, call.label), record


def error_named(name: str, message: str) -> SparringError:
    """Return the error that another process raised, as one of ours of that class or StageError."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, SparringError):
        return kind(message)
    return StageError(f"{name}: {message}")


def _result(run: RunContext, call: StageCall) -> Manifest:
    """Return the manifest that the other process has committed."""
    manifest = find_done(run, call)
    if manifest is None:
        where = run.remote.url if run.remote else run.home.root
        raise StageError(
            f"the worker has finished {call.title}, and its result is not in {where}: does "
            "that name the same place on the worker's machine?"
        )
    return manifest


def _tell(run: RunContext, event: str, record: StageRecord) -> None:
    """Write down and show what became of a call."""
    if run.journal is not None:
        now = datetime.now(UTC).isoformat()
        append_record(run.journal, {"event": event, **record_to_json(record), "time": now})
    if event == "finished":
        run.records.append(record)
        run.progress.stage_finished(record)
    else:
        run.progress.stage_started(record)
