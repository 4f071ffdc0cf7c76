"""One small run of the flow `apo`, made once and looked at by several files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from flows.servers.shared_server import start_prefect_server, stop
from tasks.storage.home import Home
from tests.conftest import common_folder
from tests.databases import Databases
from tests.flows.command import CANARIES, SMALL, Shell


@pytest.fixture(scope="session")
def prefect_server(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, databases: Databases
) -> Iterator[str]:
    """The address of one Prefect server for all the runs that do not care which they use.

    The processes that tests are spread over share it; it ends with the last of them.
    """
    home = Home(common_folder(tmp_path_factory, worker_id) / "server").ensure()
    if not (home.prefect / "prefect.db").exists():
        databases.copy("prefect", home.prefect)
    handle = start_prefect_server(home)
    yield handle.url
    stop(handle)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shell:
    """A folder in which `small.yaml` has run to its report, and nothing else; for reading only.

    The first of the processes that tests are spread over makes it, and the others wait.
    """
    folder = common_folder(tmp_path_factory, worker_id) / "untouched"
    began = folder.with_suffix(".began")
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            made = Shell(tmp_path_factory.mktemp("made"))
            done = made("run", "apo", "-c", str(SMALL), **CANARIES)
            (made.folder / "output.txt").write_text(done.stdout, encoding="utf-8")
            began.write_text(repr(made.began))
            made.folder.rename(folder)
    return Shell(folder, began=float(began.read_text()))


@pytest.fixture(scope="session")
def finished(untouched: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """This process's own copy of the finished run, in which commands may leave their traces."""
    folder = tmp_path_factory.mktemp("finished") / "copy"
    shutil.copytree(untouched.folder, folder, symlinks=True)
    return replace(untouched, folder=folder)


@pytest.fixture
def copy(finished: Shell, tmp_path: Path) -> Shell:
    """A copy of the finished run, to be damaged, interrupted and resumed."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Shell(tmp_path / "copy")


@pytest.fixture
def served_copy(copy: Shell, prefect_server: str) -> Shell:
    """A copy of the finished run whose commands need no server of their own."""
    return replace(copy, variables={"PREFECT_API_URL": prefect_server})


@pytest.fixture
def fresh(tmp_path: Path) -> Shell:
    """An empty folder."""
    return Shell(tmp_path)


@pytest.fixture
def served_fresh(fresh: Shell, prefect_server: str, databases: Databases) -> Shell:
    """A folder without any run, whose commands need no server of their own."""
    databases.copy("mlflow", fresh.folder / "mlruns")
    return replace(fresh, variables={"PREFECT_API_URL": prefect_server})
