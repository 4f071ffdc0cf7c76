"""Registers flows with a Prefect server that stays, so that they run by their schedule.

Doing it again changes what is registered and adds nothing: no second schedule, no second run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema
from prefect.utilities.urls import url_for

from flows.configs.recurring import RecurringConfig, ScheduleConfig
from flows.registry import FlowEntry
from flows.schedule.job_variables import job_variables, pull_steps
from flows.schedule.losses import find_losses
from flows.schedule.notification import ensure_late_automation, require_block
from flows.schedule.scheduled_run import next_instants
from flows.servers.dead_runs import ensure_automation
from tasks.settings.errors import ConfigError, did_you_mean

NAME, POOL = "recurring", "sparring"
"""What a deployment and its work pool are called when nobody says otherwise."""

_MOST_BYTES = 524_288
"""Prefect refuses longer parameters."""
_NEXT = 3
_SLUG = "sparring"


class DeploymentOptions(NamedTuple):
    """How a flow is to be registered."""

    name: str | None = None
    """The deployment's name, which Prefect shows as FLOW/NAME; None is the project of its
    configuration, or `NAME` without one."""
    pool: str | None = None
    """The work pool that runs it; None leaves it where it is, and a new one goes to `POOL`."""
    create_pool: bool = False
    """Make a pool of processes of that name if there is none."""
    paused: bool | None = None
    """Whether the schedule is paused; None leaves it as it is, and a new one runs."""
    folder: Path = Path()
    """Where the flow's process starts, on the machine of the worker of a process pool."""
    config_named: bool = True
    """Whether the user named the configuration; the default one replaces no other."""
    said: tuple[str, ...] = ()
    """Keys of the schedule that were said in the command itself, whatever the configuration has."""
    replace: bool = False
    """Whether what the deployment has and the configuration has not may be taken away."""


class Deployment(NamedTuple):
    """A deployment as it is registered."""

    deployment: str
    """The deployment's name as Prefect shows it, FLOW/NAME."""
    id: str
    """Prefect's id of it."""
    url: str
    """The address of its page."""
    pool: str
    """The work pool that runs it."""
    pool_type: str
    """The pool's type: process, docker, kubernetes …"""
    cron: str
    """When it runs; empty for only when asked."""
    timezone: str
    """The time zone in which the cron counts."""
    paused: bool
    """Whether the schedule is paused."""
    next: list[str]
    """The instants of the next runs, ISO 8601, UTC."""
    created: bool
    """Whether there was no deployment of this name before."""


def deploy_flow(
    entry: FlowEntry, config: RecurringConfig, options: DeploymentOptions
) -> Deployment:
    """Register a flow with its configuration, or change what is registered.

    What was set on Prefect's own page – tags, job variables, a pause – stays.

    Raises:
        ConfigError: No such pool, a cron that never comes, a configuration that is too long, or
            something would be taken away and `replace` does not allow it.
    """
    parameters = {"config": config.model_dump(mode="json")}
    size = len(json.dumps(parameters))
    if size >= _MOST_BYTES:
        raise ConfigError(
            f"the configuration has {size:,} bytes and Prefect takes {_MOST_BYTES:,} at most: "
            "move lists of sources into a folder that one source names"
        )
    own_name = options.name or config.project or NAME
    dates, name = _next_runs(config.schedule), f"{entry.name}/{own_name}"
    with get_client(sync_client=True) as client:
        before = _existing(client, name)
        if config.notify is not None:
            require_block(client, config.notify.block)
        _refuse_losses(name, before, config, options)
        pool = _pool(client, before, options)
        paused = _is_paused(before) if options.paused is None else options.paused
        flow, limit = entry.flow(), before.global_concurrency_limit if before else None
        with _refusals(own_name):
            found = client.create_deployment(
                client.create_flow_from_name(entry.name),
                name=own_name,
                version=version("sparring"),
                description=before.description if before else flow.description,
                concurrency_limit=limit.limit if limit else None,
                concurrency_options=before.concurrency_options if before else None,
                tags=_tags(before, config.project),
                # By module: a file's path would differ between the machines of the workers.
                entrypoint=entry.entrypoint,
                parameters=parameters,
                parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
                enforce_parameter_schema=True,
                schedules=_schedules(config.schedule, active=not paused),
                paused=False,
                work_pool_name=pool.name,
                job_variables=job_variables(pool, before, options.folder),
                pull_steps=pull_steps(pool, options.folder),
            )
        ensure_late_automation(client, found, name, config.notify)
    ensure_automation()
    return Deployment(
        name,
        str(found),
        url_for("deployment", obj_id=found) or "",
        pool.name,
        pool.type,
        config.schedule.cron if config.schedule else "",
        config.schedule.timezone if config.schedule else "",
        paused,
        [] if paused else dates,
        before is None,
    )


def _tags(before: DeploymentResponse | None, project: str | None) -> list[str]:
    """Return the tags of a deployment: those it has, and ours."""
    ours = ("sparring", *([project] if project else []))
    return list(dict.fromkeys([*(before.tags if before else ()), *ours]))


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what the server finds wrong with a deployment into one sentence."""
    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (409, 422):
            raise
        detail = str(error.response.json().get("detail", "no reason given"))
        raise ConfigError(f"Prefect refuses the deployment {name!r}: {detail[:500]}") from error


def _next_runs(schedule: ScheduleConfig | None) -> list[str]:
    """Return the next instants; a cron such as `0 0 31 2 *` has none."""
    if schedule is None:
        return []
    try:
        dates = next_instants(schedule, _NEXT)
    except ValueError as error:  # as croniter's errors are
        raise ConfigError(f"schedule.cron {schedule.cron!r}: {error}") from error
    if not dates:
        raise ConfigError(f"schedule.cron {schedule.cron!r} never comes")
    return [date.isoformat() for date in dates]


def _schedules(schedule: ScheduleConfig | None, *, active: bool) -> list[DeploymentScheduleCreate]:
    if schedule is None:
        return []
    cron = CronSchedule(cron=schedule.cron, timezone=schedule.counting_zone)
    return [DeploymentScheduleCreate(schedule=cron, active=active, slug=_SLUG)]


def _existing(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _is_paused(before: DeploymentResponse | None) -> bool:
    """Whether somebody had paused the deployment or its schedule: deploying must not wake it."""
    if before is None:
        return False
    return before.paused or (bool(before.schedules) and not before.schedules[0].active)


def _refuse_losses(
    name: str,
    before: DeploymentResponse | None,
    config: RecurringConfig,
    options: DeploymentOptions,
) -> None:
    """Refuse to take away what a deployment has, unless that is what was asked for."""
    if before is None or options.replace:
        return
    losses = find_losses(before, config, named=options.config_named, said=options.said)
    if losses:
        remedy = "" if options.config_named else ", or name its configuration with -c"
        raise ConfigError(
            f"{name} is registered with other values, which this would take "
            "away (what it has → what it would have):\n  "
            + "\n  ".join(losses)
            + f"\nnothing was changed; --replace does it all the same{remedy}"
        )


def _pool(
    client: SyncPrefectClient, before: DeploymentResponse | None, options: DeploymentOptions
) -> WorkPool:
    """Return the work pool, making one of processes where that was asked for."""
    name = options.pool or (before.work_pool_name if before else None) or POOL
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        known = [pool.name for pool in client.read_work_pools()]
    if not options.create_pool:
        raise ConfigError(
            f"there is no work pool {name!r}{did_you_mean(name, known)}; "
            "--create-pool makes one of processes on the machines of its workers"
        )
    try:
        return client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:  # somebody else was faster
        return client.read_work_pool(name)
