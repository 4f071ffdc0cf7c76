"""A flow run of Prefect's is made once, has our run's name at once, and always comes to an end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter

from flows.runs import flow_call
from flows.runs.flow_call import call_flow
from flows.servers.dead_runs import reconcile_prefect
from tasks.settings.base import FrozenConfig
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.runs.run_store import claim_run, save_status
from tasks.storage.home import Home


class Settings(FrozenConfig):
    """Nothing is to be set."""


@flow(name="apo", persist_result=False)
def apo(config: Settings) -> Artifact:
    """Do nothing."""
    return external_artifact(__file__)


@pytest.fixture(autouse=True)
def _served(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from prefect.context import refresh_global_settings_context

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    refresh_global_settings_context()
    yield
    monkeypatch.undo()
    refresh_global_settings_context()


def states(name: str) -> list[str | None]:
    where = FlowRunFilter.model_validate({"name": {"any_": [name]}})
    with get_client(sync_client=True) as client:
        return [one.state_name for one in client.read_flow_runs(flow_run_filter=where)]


def test_a_request_whose_answer_was_lost_makes_no_second_flow_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = SyncPrefectClient.request

    def twice(self: SyncPrefectClient, method: Any, path: Any, **more: Any) -> Any:
        if path == "/flow_runs/":
            ask(self, method, path, **more)
        return ask(self, method, path, **more)

    monkeypatch.setattr(SyncPrefectClient, "request", twice)
    run = claim_run(home, "apo", None, "", "")
    assert call_flow(apo, Settings(), run.id).path.name == "test_flow_call.py"
    assert states(run.id) == ["Completed"]


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "Interrupted"), (OSError(28, "full"), "Failed")]
)
def test_what_prefects_engine_never_began_does_not_stay_pending(
    home: Home, error: BaseException, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*arguments: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(flow_call, "run_flow", end)
    run = claim_run(home, "apo", None, "", "")
    with pytest.raises(type(error)):
        call_flow(apo, Settings(), run.id)
    assert states(run.id) == [state]


def test_what_a_killed_process_left_pending_is_closed_by_the_next_command(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **more: Any) -> Any:
        raise SystemExit

    monkeypatch.setattr(flow_call, "run_flow", killed)
    monkeypatch.setattr(flow_call, "_close", lambda run, error: None)
    run = claim_run(home, "apo", None, "", "")
    with pytest.raises(SystemExit):
        call_flow(apo, Settings(), run.id)
    assert states(run.id) == ["Pending"]
    save_status(home, run.id, "crashed")
    assert reconcile_prefect(home) == [run.id]
    assert states(run.id) == ["Crashed"]
