"""Has stages made by workers of Prefect's pools, as the configuration places them.

A placed call becomes a flow run of the deployment `placed-stage/POOL`, a child of the flow run that
waits for it. Prefect holds the stage's name, its key and the run's id; the artifacts travel by
digest through the remote, or lie in the home that both sides share.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from flows.configs.placement import Place, Placement
from flows.placement.flow_runs import cancel, create, find_active, patiently
from flows.placement.pools import check_pools, ensure_deployment
from flows.placement.remote_result import MOST_ATTEMPTS, error_named, made_elsewhere
from flows.placement.watcher import End, PlacedRun
from flows.servers.prefect_server import HEARTBEAT_SECONDS
from tasks.processes.termination import Cancelled
from tasks.settings.errors import StageError
from tasks.stages.artifact import Artifact, ArtifactLostError
from tasks.stages.call import StageCall
from tasks.stages.inputs import push_inputs
from tasks.stages.lookup import find_done
from tasks.stages.remote.call_message import CallOutcome, describe_call, read_outcome, write_call
from tasks.stages.runs.context import Listener, RunContext, StageRecord
from tasks.stages.stage import call_stage
from tasks.tracking.mlflow_record.connection import server_on_record

_ANOTHER_WORKED = frozenset({"LeaseLostError", "ArtifactLostError"})
"""Errors after which the same call may end well."""


@contextmanager
def placed(run: RunContext, placement: Placement | None) -> Iterator[None]:
    """Send the stages that the configuration places, if any, to their pools during the block.

    Raises:
        ConfigError: A pool does not exist; nothing has been started then.
    """
    places = placement.places() if placement else {}
    if not places:
        yield
        return
    patiently(
        lambda client: check_pools(client, places, run),
        lambda text: run.progress.note("placement", text),
    )
    run.dispatch = Dispatcher(run, places)
    try:
        yield
    finally:
        run.dispatch = None


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Makes the calls of one run on pools; a `Dispatch`."""

    run: RunContext
    """The run whose calls they are."""
    places: Mapping[str, Place]
    """The pool and queue of each kind of stage, `cpu` or `gpu`."""

    def takes(self, call: StageCall) -> bool:
        """Tell whether a call belongs on a pool and is not done."""
        belongs = call.spec.resources in self.places and not call.is_pending
        return belongs and find_done(self.run, call) is None

    def __call__(self, call: StageCall, listener: Listener) -> tuple[Artifact, StageRecord]:
        """Have a call made, and wait for its end.

        Raises:
            SparringError: What its body raised on the worker, or why no worker could make it.
        """

        def make() -> int | None:
            outcome = self._have_made(call, listener)
            return outcome.attempt if outcome else None

        return made_elsewhere(self.run, call, make, call.gpus)

    def _have_made(self, call: StageCall, listener: Listener) -> CallOutcome | None:
        """Give a call to its pool until a worker has finished it; return what the worker said."""
        for dispatch in range(1, MOST_ATTEMPTS + 1):
            watch = self._given(call, listener)
            try:
                end = watch.wait()
            except BaseException as error:
                if not isinstance(error, Exception) and watch.is_ours:
                    cancel(watch.id)
                raise
            outcome = read_outcome(self.run.home, self.run.remote, call.key, str(watch.id))
            if end.state == StateType.COMPLETED:
                return outcome
            if not _may_go_again(outcome, end, watch):
                _raise_failure(call, outcome, end)
            if dispatch < MOST_ATTEMPTS:
                self.run.progress.note(call.title, f"{end.sentence}; it is given to a pool again")
        raise StageError(
            f"{call.title} was given to pool {watch.place.pool!r} {MOST_ATTEMPTS} times and no "
            f"worker finished it; the last time {end.sentence}"
        )

    def _given(self, call: StageCall, listener: Listener) -> PlacedRun:
        """Give a call to its pool, or find the flow run that makes it already."""
        place = self.places[call.spec.resources]
        self._push_inputs(call, listener)

        def say(text: str) -> None:
            self.run.progress.note(call.title, text)

        def give(client: SyncPrefectClient) -> FlowRun:
            deployment = ensure_deployment(client, place)
            found = find_active(client, deployment, call.key)
            if found is not None:
                say(f"goes on in Prefect's flow run {found.id}")
                return found
            write_call(self.run.home, self.run.remote, describe_call(call, self.run.run_id))
            variables = _environment(self.run)
            return create(deployment, place, call, self.run.run_id, variables)

        return PlacedRun(patiently(give, say), call, self.run, place, listener)

    def _push_inputs(self, call: StageCall, listener: Listener) -> None:
        """Put the inputs where the worker finds them; what is lost is made again first."""
        try:
            push_inputs(self.run, call)
        except ArtifactLostError as lost:
            earlier = self.run.calls.get(lost.key)
            if earlier is None:
                raise
            self.run.progress.note(earlier.title, f"{lost}; the stage runs again")
            make = self if self.takes(earlier) else call_stage
            make(earlier, listener)
            push_inputs(self.run, call)


def _may_go_again(outcome: CallOutcome | None, end: End, watch: PlacedRun) -> bool:
    """Tell whether a call that was not finished may be given to a pool once more."""
    if end.state == StateType.FAILED:
        return outcome is not None and (
            outcome.state == "interrupted" or outcome.error in _ANOTHER_WORKED
        )
    # What somebody cancels on purpose stays cancelled; another run's interruption is not ours.
    return not (end.state == StateType.CANCELLED and watch.is_ours)


def _raise_failure(call: StageCall, outcome: CallOutcome | None, end: End) -> NoReturn:
    """Raise what the body raised, or what Prefect says where it said nothing."""
    if end.state == StateType.CANCELLED:
        raise Cancelled(f"{call.title} was cancelled in Prefect")
    if outcome is None:
        raise StageError(
            f"{call.title}: {end.sentence}; is the same Sparring installed for the worker?"
        )
    raise error_named(outcome.error, outcome.message)


def _environment(run: RunContext) -> dict[str, str]:
    """Return what the worker's process must know; never a secret, which Prefect would show."""
    variables = {
        "SPARRING_REMOTE": run.remote.url if run.remote else "",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }
    if run.remote is None:
        variables["SPARRING_HOME"] = str(run.home.root)
    if patience := os.environ.get("SPARRING_LEASE_TTL"):
        variables["SPARRING_LEASE_TTL"] = patience
    tracking = os.environ.get("MLFLOW_TRACKING_URI") or server_on_record(run.home.root) or ""
    # An address on this disk means nothing elsewhere, and one with a password is the worker's own.
    if tracking.startswith(("http://", "https://")) and "@" not in tracking:
        variables["MLFLOW_TRACKING_URI"] = tracking
    return variables
