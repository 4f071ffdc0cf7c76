"""What tests of gc rely on: no MLflow, and finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.storage.home import Home
from tests.tasks.stages.retention.housekeeping import Silent, run_flow


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.stages.flow_run.Recorder", Silent)


@pytest.fixture
def two_runs(toy: Any, home: Home, tmp_path: Path) -> tuple[str, str]:
    """Two completed runs with nothing in common but what their sources share."""
    return run_flow(toy, home, tmp_path, "hello"), run_flow(toy, home, tmp_path, "world")
