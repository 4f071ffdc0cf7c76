"""A run that is stopped on Prefect's page ends as that page says, here and in MLflow's records."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.filters import FlowRunFilter
from rich.console import Console

from flows.cli.views import show_status
from flows.configs.recurring import RecurringConfig, RunBudget
from flows.runs import budget, stopping
from flows.runs.flow_decorator import sparring_flow
from tasks.processes.termination import Cancelled
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import Awaited, BudgetExhausted
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.run_journal import stage_ends, stage_events
from tasks.stages.runs.run_store import Run, list_runs
from tasks.stages.runs.states import STATES
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace
from tasks.tracking.spool import read_segments
from tasks.training.distributed.interruption import TrainingInterrupted

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "states.md"


class Settings(FrozenConfig):
    """Nothing is to be set."""


@pytest.fixture
def served(
    prefect_server: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """A state folder whose flows run on a real Prefect server."""
    from prefect.context import refresh_global_settings_context

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    refresh_global_settings_context()
    monkeypatch.setattr(stopping, "_LOOK_SECONDS", 0.1)
    yield home
    monkeypatch.undo()
    refresh_global_settings_context()


def stopped(body: Callable[[], None], home: Home) -> tuple[Run, Any, Any]:
    """Run a flow that does this and is interrupted; return its run, Prefect's state, the event."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectSignal

    @sparring_flow
    def apo(config: Settings) -> Artifact:
        body()
        raise AssertionError("nobody stopped it")

    with pytest.raises((KeyboardInterrupt, PrefectSignal)):
        apo(Settings())
    run = list_runs(home)[0]
    with get_client(sync_client=True) as client:
        state: Any = client.read_flow_run(UUID(run.prefect_flow_run)).state
    events = [one for segment in read_segments(home.spool / run.id) for one in segment.events]
    return run, state, next(one for one in events if one["event"] == "run_finished")


def cancel() -> None:
    """Do what the button on its page does, and work on."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelling())
    time.sleep(60)


def suspend() -> None:
    """Stop at a stage, as Prefect does where a deployment's run was suspended on its page."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Pause
    from prefect.runtime import flow_run
    from prefect.states import Suspended

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Suspended(), force=True)
        raise Pause(state=client.read_flow_run(flow_run.id).state)


def interrupt() -> None:
    raise KeyboardInterrupt


def train() -> None:
    """Be in the middle of a training that is told to stop, as far as its stage says."""

    @stage_task(version=1)
    def fit(*, workspace: Workspace) -> dict[str, float]:
        raise TrainingInterrupted(
            "stopped by SIGINT, state saved at step 3 of 9: resume goes on from there"
        )

    fit(label="SFT")


def lose_a_placed_stage() -> None:
    raise Cancelled("update_policy was cancelled in Prefect")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (cancel, "cancelled"),
        (suspend, "suspended"),
        (interrupt, "interrupted"),
        (lose_a_placed_stage, "cancelled"),
    ],
)
def test_one_word_everywhere(body: Callable[[], None], word: Any, served: Home) -> None:
    run, state, event = stopped(body, served)
    said = STATES[word]
    assert run.status == word
    assert (state.type.value, state.name) == (said.type, said.prefect)
    assert (event["status"], event["state"]) == (said.mlflow, word)


def test_where_a_training_was_stopped_is_said_everywhere(
    served: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run, state, event = stopped(train, served)
    where = "fit · SFT: stopped by SIGINT, state saved at step 3 of 9: resume goes on from there"
    assert state.name == "Interrupted" and state.message.startswith(where), state.message
    assert f"`sparring resume {run.id}`" in state.message
    assert event["where"] == where
    show_status(run.id, Console(width=200), as_json=False)
    assert where in capsys.readouterr().out


def test_at_its_budget_a_run_failed_and_its_page_says_why(
    served: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    monkeypatch.setattr(budget, "_LOOK_SECONDS", 0.05)

    @sparring_flow
    def apo(config: RecurringConfig) -> Artifact:
        time.sleep(60)
        raise AssertionError("nobody stopped it")

    with pytest.raises(BudgetExhausted, match="hours are used"):
        apo(RecurringConfig(budget=RunBudget(hours=1e-4)))
    run = list_runs(served)[0]
    with get_client(sync_client=True) as client:
        state: Any = client.read_flow_run(UUID(run.prefect_flow_run)).state
        key = ArtifactFilter(key=ArtifactFilterKey(any_=["budget"]))
        told = [str(one.data) for one in client.read_artifacts(artifact_filter=key)]
    assert (run.status, state.name) == ("failed", "Failed") and "hours are used" in state.message
    assert [text for text in told if text.startswith(f"{run.id}: ")]


@stage_task(version=1, resources="people")
def ask(question: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Wait until somebody has put an answer beside the question."""
    answer = question.path.with_suffix(".answer")
    if not answer.exists():
        raise Awaited("1 answer is missing")
    write_atomic(workspace.output / "answer", answer.read_bytes())
    return {}


@stage_task(version=1)
def use(answer: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Need the answer."""
    write_atomic(workspace.output / "report.md", (answer.path / "answer").read_bytes())
    return {}


@stage_task(version=1)
def beside(question: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Do without the answer."""
    write_atomic(workspace.output / "report.md", "done")
    return {}


@sparring_flow
def exo(config: Settings) -> Artifact:
    """Ask, use the answer, and do what needs none."""
    question = external_artifact("question")
    used = use(ask(question))
    beside(question)
    return used


def test_a_run_that_waits_for_people_does_the_rest_and_goes_on_when_they_answered(
    served: Home,
) -> None:
    """Nobody is at work on it, and Prefect shows what it waits for; the next attempt ends it."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Pause

    def states(flow_run: str) -> dict[str, tuple[str, str | None]]:
        where = FlowRunFilter.model_validate({"id": {"any_": [flow_run]}})
        with get_client(sync_client=True) as client:
            run: Any = client.read_flow_run(UUID(flow_run))
            tasks: Any = client.read_task_runs(flow_run_filter=where)
        told = {task.name: (task.state.name, task.state.message) for task in tasks}
        return told | {"": (run.state.name, run.state.message)}

    Path("question").write_text("why?")
    with pytest.raises(Pause):
        exo(Settings())
    (run,) = list_runs(served)
    assert run.status == "waiting" and not run.is_abandoned
    events = stage_ends(stage_events(served, run.id))
    assert [(one["stage"], one["state"]) for one in events] == [
        ("ask", "waiting"),
        ("beside", "completed"),
    ]
    assert events[0]["error"] == "1 answer is missing"
    said = states(run.prefect_flow_run)
    assert said["ask"] == ("Waiting", "1 answer is missing")
    assert said["beside"][0] == "Completed" and "use" not in said
    assert said[""] == ("Waiting", f"1 answer is missing; then `sparring resume {run.id}`")

    Path("question.answer").write_text("because")
    with open_run("exo", config={}, config_text="{}", home=served, resume=run.id):
        result = exo(Settings())
    assert (result.path / "report.md").read_text() == "because"
    (again,) = list_runs(served)
    assert (again.id, again.status) == (run.id, "completed")
    assert states(run.prefect_flow_run)[""][0] == "Resumed"
    assert states(again.prefect_flow_run)[""][0] == "Completed"


def test_the_page_of_states_has_the_same_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    shown = {word: cells.split(" | ")[1:3] for word, cells in rows}
    assert shown == {
        word: [
            f"{said.prefect}" + (f" ({said.type})" if word == "interrupted" else ""),
            said.mlflow,
        ]
        for word, said in STATES.items()
    }
