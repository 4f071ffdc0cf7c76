"""The reliability diagram: its files, their numbers, and the same bytes twice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tasks.evaluation.metrics.calibration import calibration_report
from tasks.evaluation.report.reliability_diagram import reliability_diagram


def _reports() -> dict:
    report = calibration_report([1.0, 2.0, 0.0], [0.0, 0.5, 1.0])
    return {"RM_Base": report, "RM <APO> & co": report}


def test_files_and_the_same_bytes_again(tmp_path: Path) -> None:
    paths, again = (reliability_diagram(_reports(), tmp_path / name) for name in "ab")
    assert [path.name for path in paths] == [
        f"reliability.{kind}" for kind in ("png", "svg", "csv")
    ]
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert b"<dc:date>" not in paths[1].read_bytes()


def test_every_bin_is_in_the_csv(tmp_path: Path) -> None:
    rows = list(csv.DictReader(reliability_diagram(_reports(), tmp_path)[2].open()))
    assert len(rows) == 20
    assert sum(int(row["count"]) for row in rows if row["reward_model"] == "RM_Base") == 6


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        reliability_diagram({}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_pairs_is_drawn(tmp_path: Path) -> None:
    assert reliability_diagram({"RM": calibration_report([], [])}, tmp_path)[0].exists()
