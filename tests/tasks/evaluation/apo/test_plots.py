"""Plots: the files, their numbers, and the same bytes twice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tasks.evaluation.apo.game import game_state
from tasks.evaluation.apo.plots import game_plot, score_per_epoch
from tasks.evaluation.metrics.estimates import Estimate

SCORES = {
    "RM_Test": {
        "RJS": {0: Estimate(0.9, 0.1, 8), 1: Estimate(1.0, 0.1, 8)},
        "APO": {0: Estimate(0.9, 0.1, 8), 1: Estimate(1.25, 0.1, 8)},
    },
    "oracle": {"APO": {1: Estimate(0.5, 0.0, 8)}},
}


def _games() -> dict:
    human = {"accuracy": 0.5, "accuracy_se": 0.5, "ece": 0.25}
    fresh = {
        "accuracy_se": 0.1,
        "margin_se": 0.5,
        "length_correlation": 0.5,
        "longer_wins": 1.0,
        "length_matched": 0.5,
        "length_matched_pairs": 4.0,
    }
    states = [
        game_state(epoch, human, {**fresh, "accuracy": 1 - epoch / 4, "margin": 1.5 - epoch})
        for epoch in (0, 1)
    ]
    return {"adapted": states, "fixed": states[:1]}


DRAWINGS = {
    "figure-5": lambda folder: score_per_epoch(SCORES, folder),
    "game": lambda folder: game_plot(_games(), folder),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_files_and_the_same_bytes_again(name: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    paths = DRAWINGS[name](first)
    assert [path.name for path in paths] == [f"{name}.png", f"{name}.svg", f"{name}.csv"]
    again = DRAWINGS[name](second)
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert b"<dc:date>" not in paths[1].read_bytes()


def test_the_numbers_stand_beside_the_plot(tmp_path: Path) -> None:
    rows = list(csv.DictReader(score_per_epoch(SCORES, tmp_path)[2].open()))
    assert len(rows) == 5
    assert rows[3] == {
        "scorer": "RM_Test",
        "method": "APO",
        "epoch": "1",
        "value": "1.25",
        "standard_error": "0.1",
        "count": "8",
    }
