"""The plan of a flow, made without running it: what is done, what has to run, and why.

In planning mode a stage call answers with its committed artifact, or with a planned one that only
says where the output will be; calls that need a planned one wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.stages.artifact import Artifact, committed_artifact
from tasks.stages.call import StageCall
from tasks.stages.lineage.difference import value_changes
from tasks.stages.lookup import find_status
from tasks.stages.manifest import Manifest, artifact_folder, list_manifests
from tasks.stages.remote.layout import work_folder
from tasks.stages.remote.parts import part_names
from tasks.stages.runs.context import (
    PlannedStage,
    PlanState,
    RunContext,
    current_chapter,
    entered,
)
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.base import Remote


@contextmanager
def planning(home: Home | None = None, *, verify: bool = False) -> Iterator[RunContext]:
    """Make stage calls inside the block say what they would do.

    Yields:
        A context whose `planned` fills up, one entry per call, in order.

    Raises:
        StorageError: When another version wrote the home.
    """
    home = home or current_home()
    home.check_layout()
    with entered(RunContext(home, mode="plan", verify=verify)) as run:
        yield run


def plan_call(run: RunContext, call: StageCall) -> Artifact:
    """Add what a call would do to the plan, and return its artifact, committed or planned."""
    name, label, chapter = call.spec.name, call.label, current_chapter()
    run.planned_calls.append(call)
    past = _newest(run, name, label)
    seconds = float(past.provenance.get("seconds", 0.0)) if past else None
    if call.is_pending:
        awaited = {item.label for item in call.inputs.values() if item.is_pending}
        reason = f"waits for {', '.join(sorted(awaited))}"
        run.planned.append(PlannedStage(name, label, "", "waiting", reason, 0, seconds, chapter))
        return planned_artifact(run.home, call)
    status = find_status(run.home, run.remote, name, call.key, verify=run.verify)
    if status.manifest is not None:
        where = "" if status.is_here else "on the remote"
        run.planned.append(PlannedStage(name, label, call.key, "done", where, 0, seconds, chapter))
        return committed_artifact(run.home, status.manifest, label)
    reason = status.problem or (_difference(call, past) if past else "never ran here")
    parts = count_parts(run.home, call.key, run.remote)
    state: PlanState = "partly done" if parts else "to run"
    run.planned.append(PlannedStage(name, label, call.key, state, reason, parts, seconds, chapter))
    return planned_artifact(run.home, call)


def planned_artifact(home: Home, call: StageCall) -> Artifact:
    """Return what stands for the output of a call that is not made yet."""
    name = call.spec.name
    if call.is_pending:
        return Artifact("", home.store / name / "planned", name, "", call.title)
    return Artifact("", artifact_folder(home, name, call.key), name, call.key, call.title)


def count_parts(home: Home, key: str, remote: Remote | None = None) -> int:
    """Return how many finished parts the next attempt at a key may resume from."""
    names = {path.stem for path in Path(home.work, key).glob("attempt-*/parts/*.json")}
    if remote is not None:
        folder = work_folder(key)
        names.update(part_names(remote.names(folder), folder))
    return len(names)


def _newest(run: RunContext, stage: str, label: str) -> Manifest | None:
    """Return the newest manifest of a stage: of the same label if there is one."""
    if stage not in run.history:
        run.history[stage] = list_manifests(run.home, stage)
    manifests = run.history[stage]
    same = [manifest for manifest in manifests if manifest.label == label]
    found = same or manifests
    return found[-1] if found else None


def _difference(call: StageCall, past: Manifest) -> str:
    """Say what a call depends on that was otherwise at the newest comparable one."""
    before = {role: record.digest for role, record in past.inputs.items()}
    now = {role: artifact.digest for role, artifact in call.inputs.items()}
    roles = sorted(role for role in before.keys() | now.keys() if before.get(role) != now.get(role))
    changes = [
        *value_changes(past.version, call.spec.version, "version"),
        *(f"input {role} changed" for role in roles),
        *value_changes(past.config, call.key_config, "config"),
        *value_changes(past.arguments, call.plain, ""),
        *value_changes(past.seed, call.seed, "seed"),
    ]
    return "; ".join(map(str, changes)) or "its result is gone"
