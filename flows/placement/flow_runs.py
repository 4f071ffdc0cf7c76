"""Gives a stage call to a pool as a flow run of `placed-stage`, finds one again, and ends one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from flows.configs.placement import Place
from flows.placement.slots import HOLD
from tasks.settings.errors import StageError
from tasks.stages.call import StageCall

_STATES = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
_PAUSE_SECONDS = 0.25
_AGAIN_SECONDS = 2.0
_PATIENCE_SECONDS = 600.0
_CANCEL_SECONDS = 20.0
Answer = TypeVar("Answer")
_log = logging.getLogger("sparring.flows")


def patiently(ask: Callable[[SyncPrefectClient], Answer], say: Callable[[str], None]) -> Answer:
    """Ask Prefect's server, and again while it does not answer: it may be started anew just now.

    Asking twice must be fine; `say` is told once what is waited for.

    Raises:
        StageError: It refuses, or does not answer for minutes.
    """
    began, has_said = time.monotonic(), False
    while True:
        try:
            with get_client(sync_client=True) as client:
                return ask(client)
        except httpx.HTTPError as error:
            if not may_pass(error) or time.monotonic() - began > _PATIENCE_SECONDS:
                raise StageError(f"Prefect's server does not take it: {error}") from error
            if not has_said:
                say(f"waits for Prefect's server, which does not answer ({error})")
                has_said = True
            time.sleep(_AGAIN_SECONDS)


def may_pass(error: httpx.HTTPError) -> bool:
    """Tell a server that is away or out of order from one that refuses."""
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code >= 500


def find_active(client: SyncPrefectClient, deployment: UUID, key: str) -> FlowRun | None:
    """Return the flow run that works on a key already, or will: one of a run that was killed."""
    where = {
        "deployment_id": {"any_": [deployment]},
        "tags": {"all_": [_key_tag(key)]},
        "state": {"type": {"any_": _STATES}},
    }
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(where))
    same = [one for one in found if one.parameters.get("key") == key]
    # The one that is furthest.
    return max(same, key=lambda one: _STATES.index(one.state_type or _STATES[0]), default=None)


def create(
    deployment: UUID, place: Place, call: StageCall, run_id: str, environment: dict[str, str]
) -> FlowRun:
    """Give a call to a pool's `placed-stage` as a child of the flow run around us.

    Its description lies on the remote or in the home; what travels through Prefect is small and
    holds no secret. `environment` are variables of the worker's process. Where slots count GPUs its
    start is put off until `admit` finds room for it.
    """
    is_held = place.slots is not None and call.gpus > 0
    created = run_deployment(
        deployment,
        parameters={"stage": call.spec.name, "key": call.key, "run": run_id},
        flow_run_name=call.title,
        timeout=0,
        scheduled_time=datetime.now(UTC) + HOLD if is_held else None,
        tags=[_key_tag(call.key), call.spec.resources],
        # A request that is sent twice because the answer was lost makes one flow run.
        idempotency_key=str(uuid4()),
        work_queue_name=place.queue,
        job_variables={"env": environment, "gpus": call.gpus},
    )
    assert isinstance(created, FlowRun), "outside an event loop it is no coroutine"
    return created


def cancel(flow_run: UUID) -> None:
    """Have a placed flow run end, and wait a little until its worker has; its parts are kept."""
    try:
        with get_client(sync_client=True) as client:
            message = "the flow run that waited for it was interrupted"
            client.set_flow_run_state(flow_run, Cancelling(message=message))
            until = time.monotonic() + _CANCEL_SECONDS
            while time.monotonic() < until:
                state = client.read_flow_run(flow_run).state
                if state is None or state.is_final():
                    return
                time.sleep(_PAUSE_SECONDS)
    except (httpx.HTTPError, ObjectNotFound) as error:
        _log.warning("the flow run %s on the pool goes on: %s", flow_run, error)


def _key_tag(key: str) -> str:
    """Return the tag by which the flow runs of a key are found."""
    return f"sparring.key:{key[:16]}"
