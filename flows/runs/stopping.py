"""A run that is told to stop, or waits for people, and how Prefect says so."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, Pause, TerminationSignal
from prefect.states import Paused

from tasks.processes.termination import Cancelled, heeding_stops
from tasks.stages.lineage.run_report import run_pages
from tasks.stages.runs.context import RunContext, current_run
from tasks.stages.runs.run_journal import stopped_at
from tasks.stages.runs.run_store import list_runs, save_status
from tasks.stages.runs.states import STATES, STOPPED, RunStatus

_LOOK_SECONDS = 5.0
_log = logging.getLogger("sparring.flows")


@contextmanager
def stoppable(run: RunContext, flow_run: FlowRun | None) -> Iterator[None]:
    """Let the work inside the block be stopped on Prefect's page, and write down who stopped it."""
    try:
        with _obeying(flow_run), heeding_stops():
            yield
    except (KeyboardInterrupt, TerminationSignal, Pause, Abort) as error:
        run.ending = _ending(error, flow_run)
        save_status(run.home, run.run_id, run.ending)
        raise


def say_why_it_stopped(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Give a flow run that Prefect calls Crashed, but that was told to stop, its true state."""
    runs = list_runs(current_run().home)
    run = next((one for one in runs if one.prefect_flow_run == str(flow_run.id)), None)
    if run is None or run.status not in STOPPED:
        return
    home, said = current_run().home, STATES[run.status]
    page = run_pages(home, run).get("MLflow", "")
    told = (stopped_at(home, run.id), f"`sparring resume {run.id}` goes on from here", page)
    message = "; ".join(filter(None, told))
    true: State[Any] = State(type=StateType(said.type), name=said.prefect, message=message)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, true, force=True)


def wait_for_people(run: RunContext, flow_run: FlowRun) -> NoReturn:
    """End a flow run whose stages need what people have not given yet; Prefect calls it Waiting.

    *Resume* on the page of one that a worker ran lets a worker go on with it.

    Raises:
        Pause: Always: it ends the flow run, and a worker's process without an error.
    """
    run.ending = "waiting"
    said = "; ".join(record.error for record in run.awaits)
    state: State[Any] = Paused(
        name=STATES["waiting"].prefect,
        message=f"{said}; then `sparring resume {run.run_id}`",
        reschedule=flow_run.deployment_id is not None,
    )
    _set_state(flow_run.id, state)
    raise Pause(state=state)


def close_waiting(flow_run: FlowRun | None, before: str) -> None:
    """Say of the Prefect flow run that a run waited in `before` that another one goes on."""
    if not before or flow_run is None or before == str(flow_run.id):
        return
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(before)).state
    except Exception as error:
        _log.debug("nobody says how the flow run before ended: %s", error)
        return
    if state is not None and state.is_paused():
        message = f"flow run {flow_run.name} goes on with it"
        _set_state(UUID(before), State(type=StateType.CANCELLED, name="Resumed", message=message))


def _set_state(flow_run: UUID, state: State[Any]) -> None:
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run, state, force=True)
    except Exception as error:  # our own record says it too
        _log.warning("Prefect was not told that a flow run is %s: %s", state.name, error)


@contextmanager
def _obeying(flow_run: FlowRun | None) -> Iterator[None]:
    """Interrupt this process when its flow run is cancelled on Prefect's page.

    A worker does that for the flow runs that it began.
    """
    if flow_run is None or flow_run.deployment_id is not None:
        yield
        return
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_SECONDS):
            if _is_cancelled(flow_run):
                os.kill(os.getpid(), signal.SIGINT)
                return

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=[watch], daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _ending(error: BaseException, flow_run: FlowRun | None) -> RunStatus:
    if isinstance(error, Pause):
        return "suspended"
    by_page = flow_run is not None and _is_cancelled(flow_run)
    return "cancelled" if by_page or isinstance(error, Cancelled) else "interrupted"


def _is_cancelled(flow_run: FlowRun) -> bool:
    """Whether somebody cancelled a flow run; False where the server does not say."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run.id).state
    except Exception as error:  # whatever the server says, the work goes on
        _log.debug("nobody says whether the run is cancelled: %s", error)
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)
