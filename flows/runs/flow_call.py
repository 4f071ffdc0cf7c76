"""Calls a flow as one flow run of Prefect's that has our run's name from its first moment.

Prefect's engine makes a flow run under a name of its own, and makes a second one where the answer
to its request was lost. A process that was killed then leaves a flow run Pending that nobody knows.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.flow_engine import run_flow
from prefect.states import Pending, State, to_state_create

from tasks.settings.base import FrozenConfig
from tasks.stages.artifact import Artifact
from tasks.stages.runs.states import STATES

_log = logging.getLogger("sparring.flows")


def call_flow(flow: Flow[[Any], Artifact], config: FrozenConfig, run_id: str) -> Artifact:
    """Run a flow with a configuration as the flow run of our run; return what it returns."""
    parameters = {"config": config}
    try:
        with get_client(sync_client=True) as client:
            flow_run = _created(client, flow, parameters, run_id)
        result: Any = run_flow(flow, flow_run=flow_run, parameters=parameters)
    except BaseException as error:
        _close(run_id, error)
        raise
    assert isinstance(result, Artifact), "a flow of ours returns one"
    return result


def _created(
    client: SyncPrefectClient, flow: Flow[[Any], Artifact], parameters: dict[str, Any], run_id: str
) -> FlowRun:
    asked = FlowRunCreate(
        flow_id=client.create_flow(flow),
        flow_version=flow.version,
        name=run_id,
        parameters=flow.serialize_parameters(parameters),
        state=to_state_create(Pending()),
        # A request that is sent twice because the answer was lost makes one flow run.
        idempotency_key=f"{run_id}/{uuid4()}",
    )
    values = asked.model_dump(mode="json", exclude_unset=True)
    return FlowRun.model_validate(client.request("POST", "/flow_runs/", json=values).json())


def _close(run_id: str, error: BaseException) -> None:
    """Give an end to the flow runs of a run that Prefect's engine left without one."""
    said = STATES["failed" if isinstance(error, Exception) else "interrupted"]
    message = f"`sparring resume {run_id}` goes on from here"
    state: State[Any] = State(type=StateType(said.type), name=said.prefect, message=message)
    where = {"name": {"any_": [run_id]}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    try:
        with get_client(sync_client=True) as client:
            for one in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(where)):
                client.set_flow_run_state(one.id, state, force=True)
    except Exception as problem:  # the next command does it
        _log.warning("Prefect shows %s as at work: %s", run_id, problem)
