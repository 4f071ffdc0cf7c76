"""A run that is stopped on Prefect's page ends as that page says, here and in MLflow's records."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.runs import stopping
from flows.runs.flow_decorator import sparring_flow
from tasks.processes.termination import Cancelled
from tasks.settings.base import FrozenConfig
from tasks.stages.artifact import Artifact
from tasks.stages.runs.run_store import Run, list_runs
from tasks.stages.runs.states import STATES
from tasks.storage.home import Home
from tasks.tracking.spool import read_segments

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
        state = client.read_flow_run(run.prefect_flow_run).state
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
