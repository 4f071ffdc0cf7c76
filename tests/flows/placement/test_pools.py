"""What a run says of its pools before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.objects import WorkerStatus

from flows.configs.placement import Place
from flows.placement.pools import check_pools


def notes(kind: str, pool_type: str, resources: dict[str, Any]) -> list[str]:
    """Check a pool of a type, whose template gives its jobs these resources."""
    pool = SimpleNamespace(
        name="p",
        type=pool_type,
        base_job_template={"job_configuration": {"manifest": resources}},
        **dict.fromkeys(("is_paused", "is_push_pool", "is_managed_pool"), False),
    )
    worker = SimpleNamespace(name="w", status=WorkerStatus.ONLINE)
    client: Any = SimpleNamespace(
        read_work_pool=lambda name: pool, read_workers_for_work_pool=lambda name: [worker]
    )
    said: list[str] = []
    progress = SimpleNamespace(note=lambda title, text: said.append(f"{title}: {text}"))
    run: Any = SimpleNamespace(progress=progress)
    check_pools(client, {kind: Place(pool="p")}, run)
    return said


def test_a_template_that_ignores_how_many_gpus_a_stage_uses_is_said() -> None:
    (said,) = notes("gpu", "kubernetes", {"nvidia.com/gpu": 1})
    assert said.startswith("placement.gpu: the job template of pool 'p' has no {{ gpus }}")


@pytest.mark.parametrize(
    ("kind", "pool_type", "wanted"),
    [
        ("gpu", "kubernetes", "{{ gpus }}"),
        ("gpu", "docker", "count={{gpus}}"),
        ("gpu", "process", 1),
        ("cpu", "kubernetes", 1),
    ],
)
def test_others_are_not(kind: str, pool_type: str, wanted: object) -> None:
    assert notes(kind, pool_type, {"nvidia.com/gpu": wanted}) == []
