"""The tables of several runs as one: whose rows, and which scores compare."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.evaluation.report.joined import RunReport, join_runs
from tasks.settings.errors import ConfigError

COLUMNS = ["Type", "Model Name", "LLM Base", "RM_Test Score", "Win Rate (vs start), RM_Test"]


def _run(run: str, base: str, method: str, judge: str = "j", **more: Any) -> RunReport:
    rows = [
        ["Base models", "start", "-", 1.0, "-"],
        ["Alignment", f"APO-{method}-v1", "start", 1.5 if method == "RJS" else 2.0, "60% vs 40%"],
    ]
    table = {"title": "Table 2", "note": "a note", "columns": COLUMNS, "rows": rows}
    settings = {"tables": {"table-2": table, "data": table}, "prompts": frozenset("pq"), **more}
    return RunReport(run=run, base=base, judges={"RM_Test": judge}, **settings)


def test_bases_and_methods_stand_in_one_table() -> None:
    """The start that two runs of one base share is one row; another base has its own."""
    report = join_runs(
        [_run("a", "Alpaca", "RJS"), _run("b", "Alpaca", "DPO"), _run("c", "Alpaca2", "RJS")]
    )
    (table,) = report.tables
    assert [column.name for column in table.columns] == ["Run", "Base", *COLUMNS]
    assert [row[:5] for row in table.rows] == [
        ("1", "Alpaca", "Base models", "start", "-"),
        ("1", "Alpaca", "Alignment", "APO-RJS-v1", "Alpaca"),
        ("2", "Alpaca", "Alignment", "APO-DPO-v1", "Alpaca"),
        ("3", "Alpaca2", "Base models", "start", "-"),
        ("3", "Alpaca2", "Alignment", "APO-RJS-v1", "Alpaca2"),
    ]
    assert report.facts == {"1": "a, from Alpaca", "2": "b, from Alpaca", "3": "c, from Alpaca2"}
    assert not report.findings


def test_scores_by_another_judge_are_no_numbers() -> None:
    report = join_runs([_run("a", "Alpaca", "RJS"), _run("b", "Other", "DPO", judge="k")])
    cells = [row[5:] for row in report.tables[0].rows]
    assert cells[:2] == [(1.0, "-"), (1.5, "60% vs 40%")]
    assert cells[2:] == [("another RM_Test", "another RM_Test")] * 2
    assert report.findings[0].startswith("RM_Test of b is another model than in a")


def test_what_cannot_be_one_table_is_refused() -> None:
    other = _run("b", "x", "DPO", prompts=frozenset("qr"))
    with pytest.raises(ConfigError, match="2 prompts and b on 2, 1 of them the same"):
        join_runs([_run("a", "x", "RJS"), other])
    with pytest.raises(ConfigError, match="no table of policies in common"):
        join_runs([_run("a", "x", "RJS"), _run("b", "x", "DPO", tables={})])
