"""Asking Prefect's server for flow runs while it may be away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun

from flows.configs.placement import Place
from flows.placement.flow_runs import create, may_pass
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.update_policy import update_policy
from tests.tasks.stages.every_stage import example


def test_a_server_that_is_away_is_told_from_one_that_refuses() -> None:
    request = httpx.Request("GET", f"http://127.0.0.1/{uuid4()}")
    assert may_pass(httpx.ConnectError("refused"))
    for code, passes in ((500, True), (503, True), (401, False), (422, False)):
        response = httpx.Response(code, request=request)
        assert may_pass(httpx.HTTPStatusError("no", request=request, response=response)) is passes


@pytest.mark.parametrize(("slots", "processes"), [(None, 2), (8, 2), (8, 1)])
def test_a_job_is_told_its_gpus_and_held_where_slots_count_them(
    monkeypatch: pytest.MonkeyPatch, slots: int | None, processes: int
) -> None:
    asked: dict[str, Any] = {}

    def run_deployment(deployment: Any, **given: Any) -> FlowRun:
        asked.update(given)
        return FlowRun(flow_id=uuid4())

    monkeypatch.setattr("flows.placement.flow_runs.run_deployment", run_deployment)
    config = PolicyConfig(training=TrainingConfig(processes=processes))
    call = update_policy.spec.bind((), example(update_policy.spec, config=config), "x")
    create(uuid4(), Place(pool="p", slots=slots, queue="gpu"), call, "run", {"A": "b"})
    assert asked["job_variables"] == {"env": {"A": "b"}, "gpus": processes}
    held = asked["scheduled_time"]
    assert held is None if slots is None else held > datetime.now(UTC)
