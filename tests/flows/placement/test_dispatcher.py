"""Which calls go to a pool, and what becomes of a placed call's end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from flows.configs.placement import Place
from flows.placement.dispatcher import Dispatcher, _environment, _may_go_again, _raise_failure
from flows.placement.watcher import End
from tasks.processes.termination import Cancelled
from tasks.settings.errors import ConfigError, StageError
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.prefect_task import stage_task
from tasks.stages.remote.call_message import CallOutcome
from tasks.stages.runs.context import RunContext
from tasks.storage.home import Home
from tasks.tracking.remote.folder import FolderRemote


@stage_task(version=1, resources="gpu")
def placed_toy(source: Artifact, *, workspace: Any) -> dict[str, float]:
    """A stage for a GPU."""
    (workspace.output / "a").write_text("1")
    return {}


class _Watch:
    def __init__(self, is_ours: bool) -> None:
        self.is_ours = is_ours


@pytest.mark.parametrize(
    ("state", "outcome", "is_ours", "again"),
    [
        ("CRASHED", None, True, True),
        ("FAILED", None, True, False),
        ("FAILED", CallOutcome("f", "failed", error="ConfigError"), True, False),
        ("FAILED", CallOutcome("f", "interrupted", error="KeyboardInterrupt"), True, True),
        ("FAILED", CallOutcome("f", "failed", error="LeaseLostError"), True, True),
        ("FAILED", CallOutcome("f", "failed", error="ArtifactLostError"), True, True),
        ("CANCELLED", None, True, False),
        ("CANCELLED", None, False, True),
    ],
)
def test_only_a_death_is_given_to_a_pool_again(
    state: str, outcome: CallOutcome | None, is_ours: bool, again: bool
) -> None:
    end = End(StateType(state), "it ended")
    watch: Any = _Watch(is_ours)
    assert _may_go_again(outcome, end, watch) is again


def test_an_error_keeps_its_class_and_its_sentence(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("a")
    call = placed_toy.spec.bind((external_artifact(source),), {}, "x")
    failed = End(StateType.FAILED, "its flow run is Failed: no module")
    with pytest.raises(ConfigError, match="^no reference$"):
        _raise_failure(
            call, CallOutcome("f", "failed", 0, "", "ConfigError", "no reference"), failed
        )
    with pytest.raises(StageError, match="RuntimeError: out of memory"):
        _raise_failure(
            call, CallOutcome("f", "failed", 0, "", "RuntimeError", "out of memory"), failed
        )
    with pytest.raises(StageError, match="no module; is the same Sparring installed"):
        _raise_failure(call, None, failed)
    with pytest.raises(Cancelled, match="cancelled in Prefect"):
        _raise_failure(call, None, End(StateType.CANCELLED, ""))


def test_a_worker_is_told_where_things_are_and_no_secret(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:canary@mlflow:5000")
    alone = _environment(RunContext(home, "r", remote=None))
    assert alone["SPARRING_HOME"] == str(home.root) and alone["SPARRING_REMOTE"] == ""
    shared = _environment(RunContext(home, "r", remote=FolderRemote(tmp_path / "remote")))
    assert "SPARRING_HOME" not in shared and shared["SPARRING_REMOTE"] == f"{tmp_path}/remote"
    assert "canary" not in str(alone) + str(shared)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert _environment(RunContext(home, "r"))["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert "PREFECT_API_URL" not in os.environ


def test_only_what_belongs_on_a_pool_and_is_not_done_goes_there(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("a")
    run = RunContext(home, "r", remote=None)
    call = placed_toy.spec.bind((external_artifact(source),), {}, "x")
    assert Dispatcher(run, {"gpu": Place(pool="p")}).takes(call)
    assert not Dispatcher(run, {"cpu": Place(pool="p")}).takes(call)
    placed_toy(external_artifact(source))
    assert not Dispatcher(run, {"gpu": Place(pool="p")}).takes(call)
