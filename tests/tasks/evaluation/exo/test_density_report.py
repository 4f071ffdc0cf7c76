"""What may be read off density ratios: a verdict, or that too few samples stand for the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.exo.comparisons import Comparison
from tasks.evaluation.exo.density_report import density_findings, density_plots, density_table
from tasks.evaluation.report.tables import shown
from tasks.storage.files import read_json
from tests.tasks.evaluation.exo.evaluations import made_density

RIVALS = [Comparison("rival", "ours", "theirs", "ours", "ours against theirs", None)]


def _density(folder: Path, beta: float) -> dict[str, Any]:
    made_density(folder, ("ours", "theirs"), beta)
    kept: dict[str, Any] = read_json(folder / "density.json")
    return kept


def test_with_enough_samples_there_is_a_verdict(tmp_path: Path) -> None:
    density = _density(tmp_path / "density", 1.0)
    (verdict,) = density_findings(density, RIVALS)
    assert verdict.startswith("density ratio over 8 prompts") and verdict.endswith("ours is nearer")
    table = density_table(density)
    assert "Nothing can be read off" not in table.note
    assert all(row[-1].endswith("of 60") for row in shown(table)[1])


def test_below_a_tenth_there_is_a_warning_instead(tmp_path: Path) -> None:
    """At β = 0.01 the best of 60 samples takes all the weight: 1.0 of 60, under 6."""
    density = _density(tmp_path / "density", 0.01)
    assert density["summary"]["ours"]["optimal_effective_samples"]["value"] == pytest.approx(
        1, abs=0.1
    )
    (warning,) = density_findings(density, RIVALS)
    assert "Nothing can be read off" in warning and "less than 10% of their 60 samples" in warning
    assert "optimal, β = 0.01: 1.0" in warning and "evaluation.density.beta" in warning
    table = density_table(density)
    assert warning in table.note
    header, rows = shown(table)
    assert header[1] == "β" and rows[0][1] == "0.01"
    assert all(row[-1] == "1.0 of 60 – too few" for row in rows)
    plots = density_plots(density, {}, tmp_path)
    assert len(plots) == 2 and all(warning in plot.caption for plot in plots)
