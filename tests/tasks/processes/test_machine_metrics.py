"""How busy a machine is, by MLflow's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.processes import machine_metrics
from tasks.processes.machine_metrics import MachineMeter


def test_processors_and_memory_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(machine_metrics.time, "monotonic", lambda: now[0])
    meter = MachineMeter()
    found = meter.sample()
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    assert 0 < found["system/system_memory_usage_percentage"] < 100
    assert found["system/system_memory_usage_megabytes"] > 1
    now[0] = 109.9
    assert meter.sample() == {}
    now[0] = 110.1
    assert meter.sample().keys() == found.keys()


def test_each_gpu_says_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """512 of 2048 MiB are a quarter, and 536.870912 MB."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 93, 512, 2048, 310.5'\necho '1, 7, 0, 2048, [N/A]'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = MachineMeter().sample()
    assert {name: value for name, value in found.items() if "gpu_" in name} == {
        "system/gpu_0_utilization_percentage": 93,
        "system/gpu_0_power_usage_watts": 310.5,
        "system/gpu_0_memory_usage_megabytes": pytest.approx(536.870912),
        "system/gpu_0_memory_usage_percentage": 25,
        "system/gpu_1_utilization_percentage": 7,
        "system/gpu_1_memory_usage_megabytes": 0,
        "system/gpu_1_memory_usage_percentage": 0,
    }


def test_without_gpus_nobody_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    meter = MachineMeter()
    assert not any("gpu_" in name for name in meter.sample()) and not meter._has_gpus
