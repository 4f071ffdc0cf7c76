"""Watches one flow run of `placed-stage` for the run that waits for it."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, NamedTuple

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Running

from flows.configs.placement import Place
from flows.placement.flow_runs import may_pass
from flows.placement.pools import serves, waiting_reason
from flows.placement.slots import admit, is_held
from tasks.settings.errors import StageError
from tasks.stages.call import StageCall
from tasks.stages.leases.lease import lease_ttl
from tasks.stages.leases.liveness import owner_silence
from tasks.stages.remote.call_message import read_outcome
from tasks.stages.runs.context import Listener, RunContext

_START_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
_PROGRESS_SECONDS = 5.0
_CHECK_SECONDS = 5.0
_SAY_AGAIN_SECONDS = 600.0
_log = logging.getLogger("sparring.flows")


class End(NamedTuple):
    """How a placed flow run ended."""

    state: StateType
    """The type of Prefect's final state; FAILED also when it ended before the stage began."""
    sentence: str
    """How it ended, for messages."""


class PlacedRun:
    """Watches one placed flow run until its end; the listener is told of its progress, in percent.

    It makes `call`; `run` waits for it, and `place` is where it was given to.
    """

    def __init__(
        self, flow_run: FlowRun, call: StageCall, run: RunContext, place: Place, listener: Listener
    ) -> None:
        self.id = flow_run.id
        self.place = place
        self._call, self._run, self._listener = call, run, listener
        self.is_ours = flow_run.parameters.get("run") == run.run_id
        self._began = time.monotonic()
        self._said, self._said_at = "", -math.inf
        self._checked = self._drawn = -math.inf

    def wait(self) -> End:
        """Wait for the end; a server that does not answer meanwhile is waited for."""
        pause = _FIRST_PAUSE
        while True:
            try:
                with get_client(sync_client=True) as client:
                    while (end := self._look(client)) is None:
                        time.sleep(pause)
                        pause = min(1.5 * pause, _LONGEST_PAUSE)
                    return end
            except httpx.HTTPError as error:
                if not may_pass(error):
                    raise StageError(f"Prefect's server refuses: {error}") from error
                # Whether a stage is done is not for Prefect to say.
                run, key = self._run, self._call.key
                outcome = read_outcome(run.home, run.remote, key, str(self.id))
                if outcome is not None and outcome.state in ("completed", "cached"):
                    return End(StateType.COMPLETED, "the worker has finished it")
                self._say(f"waits for Prefect's server, which does not answer ({error})")
                time.sleep(_LONGEST_PAUSE)

    def _look(self, client: SyncPrefectClient) -> End | None:
        """Ask how it is, say what it waits for and how far it is; return its end."""
        try:
            flow_run = client.read_flow_run(self.id)
        except ObjectNotFound:
            return End(StateType.CRASHED, "its flow run was deleted in Prefect")
        state = flow_run.state
        assert state is not None, "a flow run that was created has a state"
        if state.is_final():
            return End(state.type, f"its flow run {self.id} is {state.name}: {state.message or ''}")
        now = time.monotonic()
        if now - self._checked < _CHECK_SECONDS:
            return None
        self._checked = now
        if state.is_scheduled():
            if is_held(flow_run):
                self._began = now
                reason = admit(client, flow_run, self.place)
            else:
                reason = waiting_reason(client, self.place, now - self._began)
            if reason:
                self._say(reason, client)
            return None
        if state.is_running():
            self._say_taken(client)
            self._draw(client)
        return self._if_dead(client, state)

    def _if_dead(self, client: SyncPrefectClient, state: State[Any]) -> End | None:
        """Mark a flow run Crashed whose process is gone, though Prefect has not noticed."""
        silence = owner_silence(self._run.home, self._run.remote, self._call.key)
        age = time.time() - state.timestamp.timestamp()
        if state.is_running() and silence is not None:
            # The lease may be that of an earlier attempt while the process takes it over.
            if age < _START_SECONDS or silence <= lease_ttl():
                return None
            is_dead = math.isinf(silence)
            why = "its process died" if is_dead else f"it was silent for {silence:.0f} s"
        else:
            if age < max(_START_SECONDS, lease_ttl()) or serves(client, self.place.pool):
                return None
            why = "its worker is gone"
        message = f"{why}; the stage is given to the pool again"
        client.set_flow_run_state(self.id, Crashed(message=message), force=True)
        return End(StateType.CRASHED, why)

    def _say_taken(self, client: SyncPrefectClient) -> None:
        """Take back a sentence about waiting."""
        if self._said:
            self._said = ""
            self._page(client, Running(message=f"on pool {self.place.pool!r}"))
            self._run.progress.note(self._call.title, f"runs on pool {self.place.pool!r}")

    def _say(self, text: str, client: SyncPrefectClient | None = None) -> None:
        """Say what it waits for, on the terminal and on Prefect's page, when that is new."""
        now = time.monotonic()
        if text == self._said and now - self._said_at < _SAY_AGAIN_SECONDS:
            return
        self._said, self._said_at = text, now
        self._run.progress.note(self._call.title, text)
        if client is not None:
            self._page(client, Running(name="Waiting", message=text))

    def _page(self, client: SyncPrefectClient, state: State[Any]) -> None:
        """Show a state on the task run that waits; a page never stops the work."""
        context = TaskRunContext.get()
        if context is None:
            return
        try:
            client.set_task_run_state(context.task_run.id, state, force=True)
        except Exception as error:
            _log.debug("the page is not up to date: %s", error)

    def _draw(self, client: SyncPrefectClient) -> None:
        """Pass on the newest progress bar of the worker's page."""
        now = time.monotonic()
        if now - self._drawn < _PROGRESS_SECONDS:
            return
        self._drawn = now
        where = {"flow_run_id": {"any_": [self.id]}, "type": {"any_": ["progress"]}}
        bars = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(where), limit=5)
        shares = [float(bar.data) for bar in bars if isinstance(bar.data, (int, float))]
        if shares:
            self._listener(int(max(shares)), 100, "%")
            self._run.progress.progress(self._call.title, int(max(shares)), 100, "%")
