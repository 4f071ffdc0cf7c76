"""A real MLflow server for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.tracking.mlflow_record import TrackingPlace, tracking_place
from tests.databases import Databases
from tests.servers.tracking_server import MlflowServer


@pytest.fixture(scope="module")
def tracking_server(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> Iterator[MlflowServer]:
    """One server for all tests of a file."""
    folder = tmp_path_factory.mktemp("mlflow")
    databases.copy("mlflow", folder)
    with MlflowServer(folder) as started:
        yield started


@pytest.fixture
def server_place(
    tracking_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrackingPlace:
    """The server as the user's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.url)
    return tracking_place(tmp_path / "mlruns")
