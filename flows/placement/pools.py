"""Prefect's work pools as a run needs them: there, with a queue of its own and a deployment.

Nothing here knows what kind of pool it is: process, Docker and Kubernetes pools are alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import WorkerStatus, WorkPool, WorkQueue
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.configs.placement import Place
from flows.placement.stage_flow import ENTRYPOINT, NAME, placed_stage
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.stages.runs.context import RunContext

_PATIENCE_SECONDS = 20.0
"""A worker asks for work every ten seconds or so; later than this is worth a sentence."""
_HANDOVER_SECONDS = 3.0
"""The flow run before it takes its time to end."""
_HOLDING = ("PENDING", "RUNNING", "CANCELLING")


def check_pools(client: SyncPrefectClient, places: Mapping[str, Place], run: RunContext) -> None:
    """Refuse a run whose pools do not exist; say of others why their stages will wait.

    Raises:
        ConfigError: A pool does not exist, naming those that do and how to make it.
    """
    for kind, place in places.items():
        pool = _read_pool(client, kind, place.pool)
        if pool.is_paused:
            run.progress.note(f"placement.{kind}", f"{_paused(pool.name)}, or it waits")
        elif _has_workers(pool) and not _workers(client, pool):
            text = f"no worker serves pool {pool.name!r} now: {_start(client, pool)}"
            run.progress.note(f"placement.{kind}", text)
        if kind == "gpu" and not _passes_on_gpus(pool):
            text = (
                f"the job template of pool {pool.name!r} has no {{{{ gpus }}}}: each of its jobs "
                "gets what the template says, whatever its stage uses (docs/how-to/gpus.md)"
            )
            run.progress.note("placement.gpu", text)


def ensure_deployment(client: SyncPrefectClient, place: Place) -> UUID:
    """Make a place's queue and deployment, or mend them; return the deployment's id."""
    _ensure_queue(client, place)
    release = version("sparring")
    try:
        found = client.read_deployment_by_name(f"{NAME}/{place.pool}")
        if (found.entrypoint, found.version, found.work_pool_name) == (
            ENTRYPOINT, release, place.pool
        ):  # fmt: skip
            return found.id
    except ObjectNotFound:
        pass
    return client.create_deployment(
        client.create_flow_from_name(NAME),
        name=place.pool,
        version=release,
        description="Stages that runs of Sparring give to this pool. Made anew when it is missing.",
        tags=["sparring"],
        entrypoint=ENTRYPOINT,
        work_pool_name=place.pool,
        parameter_openapi_schema=parameter_schema(placed_stage.fn).model_dump_for_openapi(),
        enforce_parameter_schema=True,
    )


def serves(client: SyncPrefectClient, pool: str) -> bool:
    """Tell whether anything serves a pool: a worker that was heard of lately, or a service."""
    found = client.read_work_pool(pool)
    return not _has_workers(found) or bool(_workers(client, found))


def waiting_reason(client: SyncPrefectClient, place: Place, waited: float) -> str:
    """Say what a flow run waits for that nobody has taken up for so many seconds.

    It is the end of a sentence that begins with its name; empty while there is nothing to say.
    """
    try:
        pool = client.read_work_pool(place.pool)
        queue = client.read_work_queue_by_name(str(place.queue), pool.name)
    except ObjectNotFound:
        return f"waits for pool {place.pool!r}, which was deleted in Prefect: make it again"
    if pool.is_paused:
        return f"waits: {_paused(pool.name)}"
    if queue.is_paused:
        return (
            f"waits: queue {queue.name!r} of pool {pool.name!r} is paused, `prefect work-queue "
            f"resume {queue.name} -p {pool.name}`"
        )
    if waited > _HANDOVER_SECONDS and (busy := _busy(client, pool, queue)):
        return f"waits for a slot of {busy}"
    if not _has_workers(pool):
        return ""
    workers = _workers(client, pool)
    if not workers:
        return f"waits for a worker on pool {pool.name!r}: {_start(client, pool)}"
    if waited < _PATIENCE_SECONDS:
        return ""
    return f"waits for {' or '.join(workers)} on pool {pool.name!r} to take it up"


def _busy(client: SyncPrefectClient, pool: WorkPool, queue: WorkQueue) -> str:
    """Name the limit that is used up, and the flow runs that use it."""
    at_work: dict[str, Any] = {"state": {"type": {"any_": list(_HOLDING)}}}
    for what, limit, where in (
        (
            f"queue {queue.name!r}",
            queue.concurrency_limit,
            {"work_queue_name": {"any_": [queue.name]}},
        ),
        (f"pool {pool.name!r}", pool.concurrency_limit, {}),
    ):
        if limit is None:
            continue
        holders = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(at_work | where),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool.name]}}),
            limit=20,
        )
        if len(holders) >= limit:
            taken = ", ".join(repr(holder.name) for holder in holders) or "it allows none"
            return f"{what} ({limit} of {limit} taken: {taken})"
    return ""


def _read_pool(client: SyncPrefectClient, kind: str, name: str) -> WorkPool:
    """Return a pool; raises ConfigError when there is none."""
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        known = [pool.name for pool in client.read_work_pools(limit=50)]
        raise ConfigError(
            f"placement.{kind} names the work pool {name!r}, and Prefect's server has none of that "
            f"name{did_you_mean(name, known)}; `sparring up` keeps the server running, then "
            f"`prefect work-pool create {name} --type process` with {_address(client)} makes it"
        ) from None


def _ensure_queue(client: SyncPrefectClient, place: Place) -> None:
    """Make the queue of a place, or give it the limit and the priority that are asked for."""
    asked = {"concurrency_limit": place.slots, "priority": place.priority}
    wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    try:
        queue = client.read_work_queue_by_name(str(place.queue), place.pool)
    except ObjectNotFound:
        try:
            client.create_work_queue(str(place.queue), work_pool_name=place.pool, **wanted)
            return
        except ObjectAlreadyExists:  # another run made it meanwhile
            queue = client.read_work_queue_by_name(str(place.queue), place.pool)
    if any(getattr(queue, name) != value for name, value in wanted.items()):
        client.update_work_queue(queue.id, **wanted)


def _workers(client: SyncPrefectClient, pool: WorkPool) -> list[str]:
    """Return the names of the workers that serve a pool now."""
    found = client.read_workers_for_work_pool(pool.name)
    return [worker.name for worker in found if worker.status == WorkerStatus.ONLINE]


def _has_workers(pool: WorkPool) -> bool:
    """Whether a pool is served by workers, not by a service that needs none."""
    return not (pool.is_push_pool or pool.is_managed_pool)


def _passes_on_gpus(pool: WorkPool) -> bool:
    """Whether a pool's jobs get the GPUs that a stage uses; a worker of processes leases them."""
    template = json.dumps(pool.base_job_template.get("job_configuration", {}))
    return pool.type == "process" or re.search(r"\{\{\s*gpus\s*\}\}", template) is not None


def _paused(pool: str) -> str:
    return f"pool {pool!r} is paused, `prefect work-pool resume {pool}`"


def _start(client: SyncPrefectClient, pool: WorkPool) -> str:
    return f"start one with `prefect worker start -p {pool.name}` and {_address(client)}"


def _address(client: SyncPrefectClient) -> str:
    return f"PREFECT_API_URL={str(client.api_url).rstrip('/')}"
