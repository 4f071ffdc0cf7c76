"""Where a run is, by hand: numbers of stages, and the time that is left by past runs."""

from __future__ import annotations

from typing import Any

import pytest

from flows.runs.pace import Pace, replayed
from tasks.stages.runs.context import PlannedStage

PLANNED = [
    PlannedStage("prepare_data", "", "k", "done", ""),
    PlannedStage("sample_responses", "a", "k", "to run", "", seconds=10.0),
    PlannedStage("sample_responses", "b", "", "waiting", "", seconds=None),
    PlannedStage("update_policy", "v1", "", "waiting", "", seconds=100.0),
]


def test_left_is_what_past_runs_took() -> None:
    pace = Pace(PLANNED)
    assert (pace.total, *pace.left()) == (4, 110.0, 1)
    pace.started("sample_responses · a")
    pace.finished("sample_responses", "sample_responses · a", 20.0, is_done=True)
    assert tuple(pace.left()) == (120.0, 0), "a new stage is guessed by its kind in this run"
    pace.started("update_policy · v1")
    pace.finished("update_policy", "update_policy · v1", 3.0, is_done=False)
    assert tuple(pace.left()) == (120.0, 0), "what failed is still to do"


def test_a_running_stage_counts_by_its_rate() -> None:
    pace = Pace(PLANNED[-1:])
    pace.started("update_policy · v1")
    running = pace.running["update_policy · v1"]
    running.done, running.total, running.rate = 30, 50, 2.0
    assert tuple(pace.left()) == (10.0, 0)


def test_without_a_plan_nothing_is_known_of_what_is_to_come() -> None:
    pace = Pace([])
    pace.started("update_policy")
    assert (pace.total, *pace.left()) == (0, 0.0, 1)


def event(kind: str, state: str, label: str, second: int) -> dict[str, Any]:
    at = f"2026-01-01T00:00:{second:02d}+00:00"
    return {
        "event": kind, "stage": "sample_responses", "label": label, "state": state,
        "seconds": 10.0, "time": at,
    }  # fmt: skip


def test_another_process_is_followed_by_its_journal() -> None:
    began = 1_767_225_600.0
    kept = {"done": 4, "total": 8, "unit": "prompts", "rate": 0.5, "time": began + 6}
    events = [
        event("started", "running", "a", 1),
        event("finished", "completed", "a", 4),
        event("started", "running", "b", 5),
    ]
    pace = replayed(PLANNED, events, {"sample_responses · b": kept})
    assert list(pace.running) == ["sample_responses · b"]
    assert pace.number("sample_responses · b") == 2
    stage = pace.running["sample_responses · b"]
    assert (stage.done, stage.total, stage.unit, stage.left) == (4, 8, "prompts", 8.0)
    assert pace.left().seconds == pytest.approx(108.0)
    stale = {**kept, "time": began + 3}
    pace = replayed(PLANNED, events, {"sample_responses · b": stale})
    assert pace.running["sample_responses · b"].total == 0, "an earlier attempt said that"
