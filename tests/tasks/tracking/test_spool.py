"""Events are on disk at once, in order, and cheap."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tasks.storage.errors import UnsafePathError
from tasks.tracking import spool as spool_module
from tasks.tracking.mlflow_record.cursor import Cursor, is_waiting
from tasks.tracking.spool import Spool, read_segments, spooled_runs


def _names(folder: Path, after: str = "") -> list[str]:
    return [event["event"] for item in read_segments(folder, after) for event in item.events]


def test_order_and_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments follow each other; full ones get no more events."""
    monkeypatch.setattr(spool_module, "SEGMENT_EVENTS", 2)
    spool = Spool(tmp_path, "r1")
    spool.run_started(flow="apo", experiment="apo", params={"seed": 1})
    assert not spool.has_news
    spool.stage_started("k", name="sft", attempt=1, params={}, tags={})
    spool.metrics("k", {"loss": float("nan"), "lr": 1}, step=3, attempt=1)
    spool.files("k", [tmp_path / "note.md"])
    spool.stage_finished("k", "FINISHED", tags={})
    assert spool.has_news
    segments = list(read_segments(tmp_path / "r1"))
    assert [len(item.events) for item in segments] == [2, 2, 1]
    assert [item.is_full for item in segments] == [True, True, False]
    assert _names(tmp_path / "r1") == [
        "run_started", "stage_started", "metrics", "files", "stage_finished",
    ]  # fmt: skip
    assert segments[1].events[0]["values"] == {"loss": "nan", "lr": 1.0}
    assert _names(tmp_path / "r1", after=segments[2].path.name) == ["stage_finished"]
    assert spooled_runs(tmp_path) == [tmp_path / "r1"]
    assert spooled_runs(tmp_path / "none") == []


def test_a_run_of_skipped_stages_waits_for_others(tmp_path: Path) -> None:
    """It is not worth starting MLflow for, unless MLflow knows the run already."""
    spool = Spool(tmp_path, "r1")
    spool.run_started(flow="apo", experiment="apo", params={})
    spool.stage_skipped("k", name="sft")
    spool.run_finished("FINISHED", "completed")
    assert not spool.has_news and not is_waiting(spool.folder)
    Cursor(runs={"": "mlflow-id"}).save(spool.folder)
    assert is_waiting(spool.folder)
    other = Spool(tmp_path, "r2")
    other.stage_started("k", name="sft", attempt=1, params={}, tags={})
    assert is_waiting(other.folder)


def test_repeated_steps_are_known() -> None:
    """Attempt 1 logs steps 0..5; attempt 2 resumes at 3: its steps 3..5 are old, 6 is new."""
    cursor = Cursor()
    cursor.begin_attempt("k", 1)
    assert all(cursor.is_new_step("k", "loss", step) for step in range(6))
    cursor.begin_attempt("k", 2)
    assert [cursor.is_new_step("k", "loss", step) for step in range(3, 8)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert cursor.is_new_step("k", "reward", 0)
    cursor.begin_attempt("k", 2)
    assert cursor.is_new_step("k", "loss", 6)


def test_a_run_id_cannot_lead_out(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        Spool(tmp_path, "../x")


def test_cost(tmp_path: Path) -> None:
    """Prints what an event costs; no limit, because machines differ."""
    spool = Spool(tmp_path, "r1")
    began = time.perf_counter()
    for step in range(1000):
        spool.metrics("k", {"loss": 1.0, "lr": 0.1}, step=step, attempt=1)
    print(f"{time.perf_counter() - began:.3f} ms an event")
