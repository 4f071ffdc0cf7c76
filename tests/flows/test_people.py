"""People in the flow `apo`: a run waits for their verdicts, and for their gold, and goes on."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from tasks.stages.manifest import list_manifests
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell, sets

PEOPLE = "human_evaluation={opponents: [start], prompts: 4, quorum: 2}"


def fill_in(folder: Path, column: str, person: str, text: str) -> int:
    """Fill in all of a set of questions as a spreadsheet of a German desk saves it."""
    rows = list(csv.DictReader(io.StringIO((folder / "questions.csv").read_text("utf-8-sig"))))
    out = io.StringIO()
    table = csv.DictWriter(out, rows[0], delimiter=";")
    table.writeheader()
    table.writerows({**row, column: text} for row in rows)
    (folder / "answers" / f"{person}.csv").write_text("\ufeff" + out.getvalue(), encoding="utf-8")
    return len(rows)


def test_a_run_waits_for_peoples_verdicts_and_reports_them_beside_the_judges(
    untouched: Shell, prefect_server: str, tmp_path: Path
) -> None:
    shutil.copytree(untouched.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy", variables={"PREFECT_API_URL": prefect_server})
    words = ("run", "apo", "-c", str(SMALL), *sets(PEOPLE))
    said = json.loads(shell(*words, "--json").stdout)
    assert set(said["waiting"]) == {
        "judge_by_people · APO-DPO-v1 vs start",
        "judge_by_people · DPO-v1 vs start",
    }
    assert said["report"] is None
    run = list_runs(shell.home)[0]
    assert (run.id, run.status) == (said["run"], "waiting")
    assert "answers are missing" in shell("status", run.id).stdout
    assert run.id in shell("resume", run.id).stdout, "nobody has answered yet"
    for folder in (shell.folder / "people").iterdir():
        for person in ("anna", "ben"):
            fill_in(folder, "verdict", person, "A")
        assert folder.name in shell("people").stdout
    done = shell("resume", run.id).stdout
    assert f"run {run.id}: " in done and "report: " in done
    (matches,) = [list_manifests(shell.home, "judge_by_people")]
    assert {one.label for one in matches} == {"APO-DPO-v1 vs start", "DPO-v1 vs start"}
    report = json.loads(shell("report", run.id, "--json").stdout)
    rows = {row[0]: row for row in report["tables"]["people"]["rows"]}
    assert rows["DPO-v1 vs start"][1] == "4 of 4"
    assert any("DPO-v1 vs start by people: wins" in one for one in report["findings"])


@pytest.mark.slow
def test_a_run_waits_for_peoples_gold_and_does_the_rest_meanwhile(fresh: Shell) -> None:
    gold = "gold={provider: people, dev_share: 0.25, people: {}}"
    words = ("run", "apo", "-c", str(SMALL), *sets(gold))
    out = fresh(*words).stdout
    assert "ask_people" in out and "waits; what does not need the answers is done" in out
    (run,) = list_runs(fresh.home)
    assert run.status == "waiting"
    before = fresh.finished_keys()
    assert any(key.startswith("update_policy/") for key in before), "a side that needs no gold"
    (folder,) = (fresh.folder / "people").iterdir()
    asked = fill_in(folder, "response", "anna", "Tea, with pleasure.")
    fresh("resume")
    (run,) = list_runs(fresh.home)
    assert run.status == "completed"
    (gold_made,) = list_manifests(fresh.home, "collect_gold")
    assert gold_made.metrics["answered"] == asked
    assert before.items() <= fresh.finished_keys().items()
