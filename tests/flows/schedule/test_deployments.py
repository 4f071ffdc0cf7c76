"""Deployments on a real Prefect server: what stays when one is made again, and overdue ticks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from flows.configs.recurring import RecurringConfig
from flows.registry import find_flow, read_config
from flows.schedule.deployments import Deployment, DeploymentOptions, deploy_flow
from flows.schedule.ticks import GRACE, look_at_ticks
from tasks.settings.errors import ConfigError
from tests.flows.command import SMALL
from tests.flows.scheduling import RECURRING


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as one:
        yield one


def deploy(config: Path | None, *overrides: str, **options: Any) -> Deployment:
    entry = find_flow("apo")
    settings = read_config(entry, config, overrides)
    assert isinstance(settings, RecurringConfig)
    said: dict[str, Any] = {"create_pool": True, "config_named": config is not None}
    return deploy_flow(entry, settings, DeploymentOptions(**said | options))


def test_deploying_again_takes_nothing_away(client: SyncPrefectClient) -> None:
    name = "taken"
    told = deploy(RECURRING, "apo_epochs=3", name=name, pool="gpus")
    before = client.read_deployment(UUID(told.id))
    # Without -c the default configuration would take the place of theirs.
    with pytest.raises(ConfigError) as refused:
        deploy(None, name=name)
    assert "apo_epochs: 3 → 2" in str(refused.value) and "--replace" in str(refused.value)
    assert "its schedule 0 3 * * * (UTC)" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        deploy(None, "schedule.cron='0 5 * * *'", name=name, said=("cron",))
    assert "apo_epochs: 3 → 2" in str(refused.value) and "its schedule" not in str(refused.value)
    # A configuration without a schedule would end theirs.
    with pytest.raises(ConfigError) as refused:
        deploy(SMALL, name=name)
    assert "its schedule 0 3 * * *" in str(refused.value)
    assert "apo_epochs" not in str(refused.value)
    # A cron in the command is no word about the rest of the schedule.
    cron, champion = "schedule.cron='0 5 * * *'", "schedule.policy=champion"
    deploy(RECURRING, champion, name="other")
    with pytest.raises(ConfigError, match="schedule.policy: champion → base"):
        deploy(SMALL, cron, name="other", said=("cron",))
    assert client.read_deployment(before.id) == before, "a refusal changes nothing"

    # What was set on Prefect's own page stays: the pool, tags, variables, another schedule.
    variables = before.job_variables
    theirs = {**variables, "env": {**variables["env"], "NCCL_DEBUG": "INFO"}}
    tags = [*before.tags, "night"]
    edit = DeploymentUpdate(tags=tags, job_variables=theirs, concurrency_limit=2)
    client.update_deployment(before.id, edit)
    deploy(RECURRING, "apo_epochs=4", name=name)
    after = client.read_deployment(before.id)
    assert after.parameters["config"]["apo_epochs"] == 4 and after.work_pool_name == "gpus"
    assert set(after.tags) == {"sparring", "night"}
    assert after.job_variables["env"]["NCCL_DEBUG"] == "INFO"
    assert after.global_concurrency_limit and after.global_concurrency_limit.limit == 2
    weekly: Any = CronSchedule(cron="15 7 * * 1", timezone="Europe/Zurich")
    client.create_deployment_schedules(before.id, [(weekly, True)])
    with pytest.raises(ConfigError) as refused:
        deploy(RECURRING, name=name)
    assert "its schedule 15 7 * * 1 (Europe/Zurich)" in str(refused.value)
    assert "0 3 * * *" not in str(refused.value)

    # Asked for by name, it is done.
    assert deploy(SMALL, name=name, replace=True).cron == ""
    assert client.read_deployment(before.id).schedules == []


def test_a_tick_that_nobody_begins_is_overdue(client: SyncPrefectClient) -> None:
    now = datetime.now(UTC)
    cron = f"schedule.cron='0 {(now.hour + 12) % 24} * * *'"  # none of its own ticks comes between
    ours = UUID(deploy(RECURRING, cron, name="nightly").id)
    deploy(RECURRING, name="resting", paused=True)
    deploy(SMALL, name="asked")
    client.create_flow_run_from_deployment(
        ours, state=Scheduled(scheduled_time=now + timedelta(hours=1))
    )

    def ticks(moment: datetime) -> dict[str, tuple[str, str]]:
        return {one.deployment: (one.next, one.problem) for one in look_at_ticks("apo", moment)}

    found = ticks(now)
    due = f"{now + timedelta(hours=1):%Y-%m-%d %H:%M} UTC"
    assert found["apo/nightly"] == (due, "") and found["apo/resting"] == ("", "")
    assert "apo/asked" not in found
    _, problem = ticks(now + timedelta(hours=1) + 2 * GRACE)["apo/nightly"]
    assert problem.startswith(f"overdue since {due}: nobody began it")
