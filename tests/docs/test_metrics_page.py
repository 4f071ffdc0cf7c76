"""docs/reference/metrics.md names every metric that a finished run has recorded, and no other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, read_page
from tests.docs.project import Project
from tests.flows.command import SMALL, Shell

PAGE = read_page("docs/reference/metrics.md")
STAGE = re.compile(r"^## (\w+)$", re.MULTILINE)


def told(page: str) -> dict[str, list[str]]:
    """Return the names of each stage's metrics, as the page has them."""
    parts = STAGE.split(page)[1:]
    return {
        stage: [
            name
            for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", row)
        ]
        for stage, text in zip(parts[::2], parts[1::2], strict=True)
    }


def pattern(name: str) -> re.Pattern[str]:
    """Return what a name stands for: its words in CAPITALS stand for anything."""
    return re.compile(re.sub(r"[A-Z]{3,}", ".+", name))


def recorded(mlruns: Path) -> set[tuple[str, str]]:
    """Return stage and name of every metric in MLflow's database."""
    asked = (
        "SELECT DISTINCT tags.value, metrics.key FROM metrics JOIN tags USING (run_uuid)"
        " WHERE tags.key = 'mlflow.runName'"
    )
    with sqlite3.connect(f"file:{mlruns / 'mlflow.db'}?mode=ro", uri=True) as database:
        return {(run.split(" · ")[0], name) for run, name in database.execute(asked)}


def untold(page: str, found: set[tuple[str, str]]) -> Iterator[str]:
    names = told(page)
    for stage, name in sorted(found):
        if not any(pattern(one).fullmatch(name) for one in names.get(stage, [])):
            yield f"{stage}: {name}"


def test_the_page_has_the_stages_that_there_are() -> None:
    stages = {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"}
    assert set(told(PAGE)) == stages


def test_the_tutorial_recorded_nothing_that_the_page_does_not_name(tutorial: Project) -> None:
    found = recorded(tutorial.folder / "mlruns")
    assert len(found) > 60
    assert not list(untold(PAGE, found))


def test_a_name_that_is_missing_is_found() -> None:
    found = {("update_policy", "grad_norm"), ("update_policy", "grad_norms")}
    assert list(untold(PAGE, found)) == ["update_policy: grad_norms"]


@pytest.mark.slow
def test_runs_of_both_flows_record_all_that_the_page_names(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("run", "apo", "-c", str(SMALL))
    shell("run", "exo", "-c", str(SMALL.with_name("exo-small.yaml")))
    found = recorded(tmp_path / "mlruns")
    assert not list(untold(PAGE, found))
    # What a run of the playground has no use for.
    elsewhere = {"prepare_texts", "extract_prompts", "train_classifier", "decide_promotion"}
    elsewhere |= {"label_preferences"}
    rare = {
        "dropped/SET/REASON",
        "loss/ranking",
        "loss/sft",
        "rewards/best",
        "win_rate/OPPONENT/JUDGE",
    }
    for stage, names in told(PAGE).items():
        for name in set(names) - rare if stage not in elsewhere else ():
            seen = [one for where, one in found if where == stage and pattern(name).fullmatch(one)]
            assert seen, f"{stage}: no run recorded {name}"
