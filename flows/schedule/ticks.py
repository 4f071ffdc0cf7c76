"""Whether the ticks of schedules come when they are due, for a monitor outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from flows.schedule.deployment_check import our_deployments

GRACE = timedelta(minutes=5)
"""A tick that nobody has begun for so long is overdue."""


class Tick(NamedTuple):
    """How the schedule of a deployment is kept."""

    deployment: str
    """Its name, `FLOW/NAME`."""
    next: str
    """When the next run is due, as `2026-01-02 03:00 UTC`; empty where none is."""
    problem: str
    """What is wrong; empty if nothing is."""

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        when = f"next {self.next}" if self.next else "no run is due"
        return f"{self.deployment}: {self.problem or when}"


def look_at_ticks(flow: str | None = None, now: datetime | None = None) -> list[Tick]:
    """Look at every deployment of ours that has a schedule, on the Prefect server used now.

    Args:
        flow: The flow whose deployments are meant; None: every flow.
        now: The time it is; the present by default.
    """
    now = now or datetime.now(UTC)
    with get_client(sync_client=True) as client:
        named = [(one, client.read_flow(one.flow_id).name) for one in our_deployments(client)]
        return sorted(
            _look_at(client, one, f"{name}/{one.name}", now)
            for one, name in named
            if one.schedules and flow in (None, name)
        )


def _look_at(
    client: SyncPrefectClient, deployment: DeploymentResponse, name: str, now: datetime
) -> Tick:
    if deployment.paused or not any(one.active for one in deployment.schedules):
        return Tick(name, "", "")
    due = [one for one in _unbegun(client, deployment) if one.expected_start_time]
    late = [one for one in due if one.expected_start_time < now - GRACE]  # type: ignore[operator]
    ahead = [one for one in due if one not in late]
    when = _minute(ahead[0]) if ahead else ""
    if late:
        many = f", and {len(late) - 1} more" if len(late) > 1 else ""
        why = "does a worker of its pool run?"
        return Tick(name, when, f"overdue since {_minute(late[0])}{many}: nobody began it; {why}")
    if not ahead and deployment.updated and deployment.updated > now - GRACE:
        return Tick(name, "", "")  # the server plans the runs of what is deployed within a minute
    if not ahead:
        return Tick(name, "", "its schedule is on, and the server has planned no run of it")
    return Tick(name, when, "")


def _unbegun(client: SyncPrefectClient, deployment: DeploymentResponse) -> list[FlowRun]:
    """Return the runs that no process has begun, the earliest first."""
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}}),
        flow_run_filter=FlowRunFilter.model_validate(
            {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )


def _minute(run: FlowRun) -> str:
    assert run.expected_start_time is not None
    return f"{run.expected_start_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
