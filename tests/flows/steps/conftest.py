"""Stage calls that are written down instead of made, so that a whole flow takes a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stages.call import StageCall
from tasks.stages.plan import planning
from tasks.storage.home import Home
from tests.flows.steps.noted_calls import Made, result_of


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StageCall]]:
    """Every stage call of the test, in its order; none of them does anything."""
    noted: list[StageCall] = []

    def note(call: StageCall) -> Made:
        noted.append(call)
        return result_of(call)

    monkeypatch.setattr("tasks.stages.prefect_task.run_call", note)
    monkeypatch.chdir(tmp_path)
    with planning(Home(tmp_path / "home")):
        yield noted
