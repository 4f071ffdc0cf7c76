"""Runs that died without a word do not stay `Running` on Prefect's pages, nor keep their slots.

Whoever uses a server next closes what this home knows to be dead; an automation on the server does
it without us, ninety seconds after a run's last sign of life.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import refresh_global_settings_context
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Crashed

from flows.registry import FLOWS
from flows.servers.prefect_server import HEARTBEAT_SECONDS
from tasks.stages.runs.reconciling import reconcile_runs
from tasks.stages.runs.run_store import Run, list_runs
from tasks.storage.home import Home

AUTOMATION = "sparring: runs without a sign of life are Crashed"
"""The automation's name on Prefect's page; by it we find it again."""
SILENCE = timedelta(seconds=3 * HEARTBEAT_SECONDS)
"""Without a heartbeat for so long, a run is taken for dead."""
_ALIVE = ("RUNNING", "PENDING", "CANCELLING")
_OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_SETTLED = timedelta(seconds=60)
"""Task runs of a flow run that just ended may be on their way to the server."""
_BEGINS_WITHIN = timedelta(minutes=2)
"""Between a worker's taking of a flow run and the first word of its process, on a process pool."""
_ARRIVES_WITHIN = timedelta(minutes=30)
"""The same on other pools, where an image may have to come first."""
_PAGE = 200
_log = logging.getLogger("sparring.flows")


def close_dead_runs(home: Home) -> list[str]:
    """Close dead runs on the Prefect server that is used now, and let it close later ones itself.

    A server that refuses never stops the work; it is said in the log. Returns the ids of our runs
    that were closed.
    """
    try:
        closed = reconcile_prefect(home)
        ensure_automation()
    except Exception as error:  # whatever the server says, the run can go on
        _log.warning("dead runs may be shown as Running on Prefect's pages: %s", error)
        return []
    return closed


def reconcile_prefect(home: Home) -> list[str]:
    """Set flow runs of dead or missing processes, and task runs of ended ones, to Crashed.

    A Prefect flow run has the name of our run. It is dead when it says that it is at work since
    before our own record changed last, and our record says that nobody is at work on it, or that
    a newer flow run is. Prefect frees the slots of what ends. Runs of other homes are not touched.
    Returns the ids of our runs that were closed.
    """
    reconcile_runs(home)
    runs = {run.id: run for run in list_runs(home)}
    closed: set[str] = set()
    with get_client(sync_client=True) as client:
        for flow_run in _at_work(client) if runs else []:
            run = runs.get(flow_run.name)
            if run is not None and _is_stale(flow_run, run):
                _crash(client, flow_run, run)
                closed.add(run.id)
        _close_unbegun(client)
        _close_left_tasks(client)
    return sorted(closed)


def ensure_automation() -> None:
    """Make the automation that marks silent runs of our flows Crashed, or bring it up to date.

    It watches flows of ours alone: they give a sign of life every thirty seconds, others may take
    longer.
    """
    wanted = _automation()
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(AUTOMATION)
        if not found:
            client.create_automation(wanted)
            return
        first, *doubles = found
        if _meaning(first) != _meaning(wanted):
            # Whoever switched it off keeps it off.
            as_is = wanted.model_copy(update={"enabled": first.enabled})
            client.update_automation(first.id, as_is)
        for double in doubles:
            client.delete_automation(double.id)


def set_heartbeat() -> None:
    """Let this process's flow runs give a sign of life as often as the automation expects.

    A worker that was started without our settings runs the flow with Prefect's own, three minutes,
    and its live runs would be taken for dead. Called when a flow of ours is imported: Prefect
    reads the setting when the flow begins.
    """
    if get_current_settings().flows.heartbeat_frequency != HEARTBEAT_SECONDS:
        os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
        refresh_global_settings_context()


def _meaning(automation: Any) -> dict[str, Any]:
    """Return what an automation does, without the ids that the server gives its parts."""
    trigger = automation.trigger.model_dump(exclude={"id"})
    return {"trigger": trigger, "actions": [one.model_dump() for one in automation.actions]}


def _at_work(client: Any) -> list[Any]:
    """Return the flow runs that the server believes to be at work."""
    where = FlowRunFilter.model_validate({"state": {"type": {"any_": list(_ALIVE)}}})
    found: list[Any] = []
    while len(found) % _PAGE == 0:
        page = client.read_flow_runs(
            flow_run_filter=where, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=len(found)
        )
        found += page
        if not page:
            break
    return found


def _is_stale(flow_run: Any, run: Run) -> bool:
    """Whether a flow run that says it is at work is that of a dead attempt at our run."""
    if run.status == "running" and str(flow_run.id) == run.prefect_flow_run:
        return False
    # A retry from Prefect's page, or a new attempt, is at work before our record says so.
    return bool(flow_run.state.timestamp < datetime.fromisoformat(run.updated))


def _crash(client: Any, flow_run: Any, run: Run) -> None:
    """Set a flow run and its unfinished task runs to Crashed."""
    if run.status == "running":
        message = "its process died; a newer flow run goes on with it"
    elif run.status == "completed":
        message = "its process died; the run was finished by another flow run"
    else:
        message = f"its process died; `sparring resume {run.id}` goes on from here"
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run.id]}}),
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": list(_ALIVE)}}}),
        limit=_PAGE,
    )
    try:
        for task in tasks:
            client.set_task_run_state(task.id, Crashed(message="its process died"), force=True)
        client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)
    except ObjectNotFound:
        _log.info("flow run %s was deleted meanwhile", flow_run.id)


def _close_unbegun(client: Any) -> None:
    """Set flow runs of ours to Crashed that a worker took a while ago and no process began.

    A worker that dies between the two leaves them Pending for ever. The next scheduled run does
    their work.
    """
    now = datetime.now(UTC)
    pending = client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": _our_flows()}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING"]}}}),
        limit=_PAGE,
    )
    for flow_run in pending:
        if now - flow_run.state.timestamp > _patience(client, flow_run.work_pool_name):
            message = "a worker took it and no process began it: the worker died meanwhile"
            client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)


def _patience(client: Any, pool: str | None) -> timedelta:
    """Return how long a flow run may be Pending on a pool."""
    try:
        is_process = pool is None or client.read_work_pool(pool).type == "process"
    except ObjectNotFound:
        is_process = False
    return _BEGINS_WITHIN if is_process else _ARRIVES_WITHIN


def _close_left_tasks(client: Any) -> None:
    """Set task runs to Crashed that are at work in flow runs of ours which ended a while ago.

    A worker reports that a flow run's process died, and says nothing of its task runs.
    """
    before = datetime.now(UTC) - _SETTLED
    ended = {"state": {"type": {"any_": list(_OVER)}}, "end_time": {"before_": before}}
    tasks = client.read_task_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": _our_flows()}}),
        flow_run_filter=FlowRunFilter.model_validate(ended),
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": list(_ALIVE)}}}),
        limit=_PAGE,
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message="its flow run ended"), force=True)


def _our_flows() -> list[str]:
    """Return the names that our flows have in Prefect."""
    return sorted({*FLOWS, *(name.replace("_", "-") for name in FLOWS), "placed-stage"})


def _automation() -> Any:
    """Return the automation as it should be."""
    # By the states' names. One that waits for people, or is suspended, has no process to be alive.
    names = "Completed Failed Crashed Cancelled Suspended Waiting NothingNew Skipped".split()
    names += ["Interrupted", "Resumed"]
    ends = [f"prefect.flow-run.{name}" for name in names]
    heartbeat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=AUTOMATION,
        description="Made by Sparring, and made again when it is missing.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": _our_flows()},
            after={heartbeat},
            expect={heartbeat, *ends},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="no sign of life for 90 s; `sparring resume` goes on from here",
            )
        ],
    )
