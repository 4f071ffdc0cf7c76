"""How far stages are, written down for another command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.stages.runs import progress
from tasks.stages.runs.context import LoggingSink, StageRecord
from tasks.stages.runs.progress import KeptProgress, StageProgress, read_progress

RECORD = StageRecord("update_policy", "v1", "k", "running")


class Noted(LoggingSink):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        self.told.append((title, done, total, unit))


def test_the_rate_is_that_of_the_last_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed training begins at 40: 10 steps in 5 s are 2 steps/s, and 50 are left."""
    times = iter([100.0, 105.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    stage = StageProgress()
    stage.report(40, 100, "steps")
    assert (stage.rate, stage.left) == (None, None)
    stage.report(50, 100, "steps")
    assert (stage.rate, stage.left) == (2.0, 25.0)


def test_it_is_written_now_and_then_and_passed_on_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    inner = Noted()
    kept = KeptProgress(tmp_path, inner)
    assert read_progress(tmp_path) == {}
    kept.stage_started(RECORD)
    for done in (1, 2):
        now[0] += 0.5
        kept.progress(RECORD.title, done, 9, "steps")
    assert [told[1] for told in inner.told] == [1, 2]
    assert read_progress(tmp_path)[RECORD.title]["done"] == 1
    now[0] += 5
    kept.progress(RECORD.title, 3, 9, "steps")
    found = read_progress(tmp_path)[RECORD.title]
    assert (found["done"], found["total"], found["unit"]) == (3, 9, "steps")
    kept.stage_finished(RECORD)
    now[0] += 5
    kept.progress(RECORD.title, 4, 9, "steps")
    assert read_progress(tmp_path)[RECORD.title]["done"] == 3, "of nothing that runs"


def test_a_folder_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "progress.json").mkdir()
    kept = KeptProgress(tmp_path, Noted())
    kept.stage_started(RECORD)
    kept.progress(RECORD.title, 1, 9, "steps")
    assert read_progress(tmp_path) == {}
