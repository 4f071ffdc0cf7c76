from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import running
from benchmarks.engine.peers import Peer, Side
from benchmarks.engine.rows import Row
from benchmarks.engine.running import Run, table
from benchmarks.engine.search import SideError
from benchmarks.engine.series import Series
from benchmarks.engine.setting import Setting
from benchmarks.engine.table import figures
from benchmarks.engine.turns import Measured

ROWS = [
    Row(name, "", "groups", Side("ours", "a:b"), Peer("theirs", "a:c"), 0.01)
    for name in ("first", "second", "third")
]
ABOUT = {"date": "2026-12-01 10:00 UTC", "commit": "abc"}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Measured without any process: what a row's name stands for is raised or counted."""
    ends: dict[str, Any] = {"asked": []}

    def measured(run: Run, row: Row) -> dict[str, Any]:
        ends["asked"].append(row.name)
        if row.name in ends:
            raise ends[row.name]
        sides = Measured([2.0], [1.0], losses={"1": 1.0}), Measured([1.0], [1.0], losses={"1": 1.0})
        return figures(row, *sides, 0.0) | {"missing": "", "choice": "", "tried": []}

    monkeypatch.setattr(running, "measured", measured)
    monkeypatch.setattr(running, "circumstances", lambda: dict(ABOUT))
    return ends


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143)])
def test_a_series_broken_off_keeps_its_rows_and_goes_on(
    rows: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], end: BaseException
) -> None:
    file, run = tmp_path / "rows.jsonl", Run(Setting(), tmp_path)
    rows["second"] = end
    if isinstance(end, KeyboardInterrupt):
        assert not table(run, ROWS, file)
        shown = capsys.readouterr().out
        assert "| first: " in shown and "not measured: second: broken off; --resume" in shown
    else:
        with pytest.raises(SystemExit):
            table(run, ROWS, file)
    assert [one["row"] for one in lines(file)] == ["first"]
    del rows["second"]
    rows["asked"].clear()
    assert table(run, ROWS, file, resume=True)
    assert rows["asked"] == ["second", "third"]
    assert [one["row"] for one in lines(file)] == ["first", "second", "third"]
    assert "| first: " in capsys.readouterr().out


def test_a_row_that_failed_is_tried_again(rows: dict[str, Any], tmp_path: Path) -> None:
    file, run = tmp_path / "rows.jsonl", Run(Setting(), tmp_path)
    rows["first"] = SideError("it cannot go on")
    assert not table(run, ROWS, file)
    assert lines(file)[0]["failed"] == "it cannot go on"
    del rows["first"]
    rows["asked"].clear()
    assert table(run, ROWS, file, resume=True)
    assert rows["asked"] == ["first"]


def test_a_new_series_measures_anew_and_leaves_the_old_one(
    rows: dict[str, Any], tmp_path: Path
) -> None:
    file, run = tmp_path / "rows.jsonl", Run(Setting(), tmp_path)
    assert table(run, ROWS[:1], file) and table(run, ROWS[:1], file)
    assert rows["asked"] == ["first", "first"]
    assert len(lines(file)) == 2


@pytest.mark.parametrize(
    ("about", "setting"), [(ABOUT | {"commit": "other"}, "s"), (ABOUT, "another")]
)
def test_rows_of_another_commit_or_setting_are_not_taken(
    tmp_path: Path, about: dict[str, str], setting: str
) -> None:
    file = tmp_path / "rows.jsonl"
    Series(file, ABOUT, resume=False).keep({"row": "first", "setting": "s"})
    assert Series(file, ABOUT, resume=True).kept("first", "s")
    assert Series(file, about, resume=True).kept("first", setting) is None


def test_to_resume_without_a_series_begins_one(rows: dict[str, Any], tmp_path: Path) -> None:
    assert table(Run(Setting(), tmp_path), ROWS, tmp_path / "none.jsonl", resume=True)
    assert rows["asked"] == ["first", "second", "third"]
