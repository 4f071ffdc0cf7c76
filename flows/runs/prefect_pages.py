"""What a flow leaves on its page in Prefect: the report as text, and each of its tables.

A page that cannot be drawn never fails a run; the report itself lies in the store.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger

from tasks.stages.runs.context import ProgressSink, StageRecord
from tasks.storage.files import read_json

_log = logging.getLogger("sparring.flows")
_IMAGE = re.compile(r"^!\[.*\]\(.*\)\n\n?", re.MULTILINE)
_MOST_CHARACTERS = 200_000
"""A page's text is kept in Prefect's database as it is."""
_LINE_SECONDS = 30.0
_FIGURES = 6


def show_report(folder: Path, flow: str, run_id: str) -> None:
    """Put a run's report, if the folder holds one, on the page of the flow run around this call.

    Prefect shows the history of `FLOW-report`, one entry per run.
    """
    try:
        if (folder / "report.md").exists():
            text = _IMAGE.sub("", (folder / "report.md").read_text(encoding="utf-8"))
            where = f"`sparring report {run_id}` opens it with its plots.\n\n"
            create_markdown_artifact(
                where + text[:_MOST_CHARACTERS], key=f"{flow}-report", description=f"Run {run_id}"
            )
        for name, rows, note in _tables(folder):
            create_table_artifact(rows, key=f"{flow}-{name}", description=note)
    except Exception as error:  # whatever Prefect's server says, the work is done
        _log.warning("the report is not on Prefect's page: %s", error)


class PageLog:
    """Passes everything on to another `ProgressSink`, and writes metrics into the flow run's log.

    Of each stage a line every half minute, with the first figures that it tells. Made inside the
    flow run; threads of other contexts may use it.
    """

    def __init__(self, inner: ProgressSink) -> None:
        self._inner, self._log = inner, get_run_logger()
        self._next: dict[str, float] = {}

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Pass the metrics of a stage on, and write some of them down."""
        self._inner.metrics(title, values, step)
        if step is None or time.monotonic() < self._next.get(title, 0.0):
            return
        self._next[title] = time.monotonic() + _LINE_SECONDS
        said = ", ".join(f"{name} {value:.4g}" for name, value in list(values.items())[:_FIGURES])
        self._log.info("%s, step %d: %s", title, step, said)

    def stage_started(self, record: StageRecord) -> None:
        """Pass it on."""
        self._inner.stage_started(record)

    def stage_finished(self, record: StageRecord) -> None:
        """Pass it on."""
        self._inner.stage_finished(record)

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Pass it on."""
        self._inner.progress(title, done, total, unit)

    def note(self, title: str, text: str) -> None:
        """Pass it on."""
        self._inner.note(title, text)


def name_flow_run(flow_run: FlowRun, name: str) -> None:
    """Give a flow run that a deployment began the name that its run has everywhere else."""
    if flow_run.name == name:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, name=name)
    except Exception as error:
        _log.warning("Prefect's flow run keeps its name: %s", error)


def _tables(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]], str]]:
    """Yield a key that Prefect takes, the rows, and the title of each table of a report."""
    path = folder / "report.json"
    report = read_json(path) if path.exists() else {}
    for key, table in report.get("tables", {}).items():
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        note = f"**{table['title']}**\n\n{table.get('note', '')}".strip()
        yield re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-"), rows, note
