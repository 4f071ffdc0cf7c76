"""What docs/reference/metrics.md names, and what runs have recorded."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import read_page

PAGE = read_page("docs/reference/metrics.md")
FLOW_RUN = re.compile(r"\w+-\d{8}-\d{6}-\w+")
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
    """Return stage and name of every metric in MLflow's database; `run` for a flow's own."""
    asked = (
        "SELECT DISTINCT tags.value, metrics.key FROM metrics JOIN tags USING (run_uuid)"
        " WHERE tags.key = 'mlflow.runName'"
    )
    with sqlite3.connect(f"file:{mlruns / 'mlflow.db'}?mode=ro", uri=True) as database:
        found = {(run.split(" · ")[0], name) for run, name in database.execute(asked)}
    return {
        ("run" if FLOW_RUN.fullmatch(of) else of, name.removeprefix("final/")) for of, name in found
    }


def untold(page: str, found: set[tuple[str, str]]) -> Iterator[str]:
    names = told(page)
    for stage, name in sorted(found):
        if not any(pattern(one).fullmatch(name) for one in names.get(stage, [])):
            yield f"{stage}: {name}"
