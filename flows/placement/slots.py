"""Slots count GPUs: a flow run is held back until its place has room for all that it uses.

Prefect's limit of a queue counts flow runs. So a flow run is made with its start put off, and who
waits for it lets it start once those at work, and those that wait for longer, leave it enough.
Nothing has to be given back: a flow run that ended, however it did, does not count any more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Scheduled

from flows.configs.placement import Place

HOLD = timedelta(minutes=5)
"""How far a start is put off at a time: one for which nobody waits any more comes about then."""
_RENEWED = timedelta(seconds=30)
"""After so long it is put off anew; who missed this three times does not wait any more."""
_COUNTED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]


def is_held(flow_run: FlowRun) -> bool:
    """Tell whether the start of a flow run is put off."""
    state = flow_run.state
    return state is not None and state.is_scheduled() and _start(flow_run) > datetime.now(UTC)


def admit(client: SyncPrefectClient, flow_run: FlowRun, place: Place) -> str:
    """Let a held flow run start if its place has room for it; else put its start off again.

    Who was made first is let in first, so that one that uses many GPUs gets them at some time. One
    whose waiter was killed holds up nobody.

    Returns:
        What it waits for, as the end of a sentence that begins with its name; empty if it starts.
    """
    where: dict[str, Any] = {
        "deployment_id": {"any_": [flow_run.deployment_id]},
        "work_queue_name": {"any_": [place.queue]},
        "state": {"type": {"any_": _COUNTED}},
    }
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(where))
    before = [
        other
        for other in found
        if other.id != flow_run.id
        and (not is_held(other) or (_is_awaited(other) and _age(other) < _age(flow_run)))
    ]
    own, taken = _gpus(flow_run), sum(map(_gpus, before))
    assert place.slots is not None, "else it is not held"
    if own + taken <= place.slots or not before:
        client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
        return ""
    if _start(flow_run) - datetime.now(UTC) < HOLD - _RENEWED:
        later: State[None] = Scheduled(scheduled_time=datetime.now(UTC) + HOLD)
        client.set_flow_run_state(flow_run.id, later, force=True)
    names = ", ".join(f"{_gpus(other)} by {other.name!r}" for other in before)
    return (
        f"waits for {own} GPU(s) of queue {place.queue!r} ({taken} of {place.slots} taken: {names})"
    )


def _is_awaited(flow_run: FlowRun) -> bool:
    """Tell whether somebody still puts off the start of a flow run."""
    return _start(flow_run) - datetime.now(UTC) > HOLD - 3 * _RENEWED


def _start(flow_run: FlowRun) -> datetime:
    """Return when a flow run that is scheduled is to start."""
    assert flow_run.state is not None, "a flow run that was created has a state"
    start: datetime | None = flow_run.state.state_details.scheduled_time
    return start or datetime.now(UTC)


def _age(flow_run: FlowRun) -> tuple[datetime, str]:
    """Return what orders flow runs; two of one moment are ordered too."""
    assert flow_run.created is not None, "it was read from the server"
    return flow_run.created, str(flow_run.id)


def _gpus(flow_run: FlowRun) -> int:
    return int((flow_run.job_variables or {}).get("gpus", 1))
