"""What a run ends with: the headline, one table of eighty columns, and where the rest is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from flows.runs.console import open_console
from flows.runs.ending import report_file, show_outcome
from flows.runs.runner import Outcome
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import external_artifact
from tasks.stages.runs.run_store import claim_run, save_prefect_run
from tasks.storage.files import write_json
from tasks.storage.home import Home

NAME = "APO-EXO-rw β_π=0.25 K=8, reward model, epoch 3"
HEADLINE = f"{NAME} wins by 1.000 oracle reward"


def ending(folder: Path, run: str = "", *, full: bool = False, width: int = 200) -> list[str]:
    """Return the lines that a run prints whose last stage left this folder."""
    report = external_artifact(folder)
    out = io.StringIO()
    show_outcome(Outcome(run, report, 7, 7), open_console(file=out, width=width), full=full)
    return out.getvalue().splitlines()


def report(rows: int = 2) -> dict[str, Any]:
    columns = ["Policy", "oracle reward", "over start", "KL, nats"]
    row = [NAME, "12.345 ± 0.123", "+12.345 ± 0.123", "12.345 ± 0.123"]
    summary = {"columns": columns, "rows": [row] * (rows - 1) + [["start", *[None] * 3]]}
    return {"headline": HEADLINE, "tables": {"summary": {**summary, "note": "± is an error."}}}


def test_the_headline_and_one_table_of_eighty_columns(home: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", report())
    (tmp_path / "report.md").write_text("# All of it\n\nThe findings.\n")
    (tmp_path / "report.html").write_text("<p>")
    lines = ending(tmp_path)
    assert "nothing ran" in lines[0] and HEADLINE in lines
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"
    drawn = [line for line in lines if line and line[0] in "┏┃┡│└"]
    assert len(drawn) > 4 and max(map(len, drawn)) <= 80
    assert "12.345 ± 0.123" in "".join(drawn)
    shown = "\n".join(lines)
    assert "The findings." not in shown and "`sparring report latest` prints" in shown
    assert "\x1b" not in shown
    assert "The findings." in "\n".join(ending(tmp_path, full=True))


def test_without_policies_the_first_table_is_shown(home: Any, tmp_path: Path) -> None:
    """As of an `ava` run of reward models alone, which has no summary of policies."""
    values = report()
    values["tables"] = {"accuracies": values["tables"].pop("summary")}
    write_json(tmp_path / "report.json", values)
    assert "12.345 ± 0.123" in "\n".join(ending(tmp_path))
    write_json(tmp_path / "report.json", values | {"tables": {}})
    (tmp_path / "report.md").write_text("# All of it\n\nThe findings.\n")
    assert "The findings." in "\n".join(ending(tmp_path))


def test_only_pages_that_somebody_shows_are_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow was never started and has no address at all; Prefect's server came and went."""
    run = claim_run(home, "toy", None, "", "").id
    monkeypatch.setattr(
        "tasks.stages.lineage.run_report.logged_pages", lambda _: {("run", run): "#/runs/1"}
    )
    monkeypatch.setattr(
        "tasks.stages.lineage.run_report.prefect_tags",
        lambda _: {"sparring.prefect.url": "http://127.0.0.1:1/runs/flow-run/2"},
    )
    save_prefect_run(home, run, "2")
    assert ending(tmp_path, run)[-1] == (
        "MLflow and Prefect: `sparring up` starts what shows the pages of this run"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
    monkeypatch.setattr("flows.runs.ending.answers", lambda site, seconds: site.endswith(":2"))
    assert ending(tmp_path, run)[-2:] == [
        "MLflow: http://127.0.0.1:2/#/runs/1",
        "Prefect: `sparring up` starts what shows the pages of this run",
    ]


def test_of_many_policies_the_first_twelve_are_shown(home: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", report(20))
    assert any("report latest` prints 8 more policies" in line for line in ending(tmp_path))


def test_a_result_without_a_report_is_named(home: Any, tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "words.json").write_text("{}")
    assert ending(folder)[1:] == ["no report, but: words.json", f"report: {folder}"]
    with pytest.raises(ConfigError, match=r"left no report.md; in .* there is: words.json"):
        report_file(folder, "report.md")


def test_a_report_of_text_alone_is_printed_whole(home: Any, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# Words\n\n- long: 1\n")
    assert "- long: 1" in ending(tmp_path)
