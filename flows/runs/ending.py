"""What the terminal says of a run that ended: the headline, one table, where its pages are."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from flows.runs.runner import Outcome, shown_report
from flows.runs.tables import table
from flows.servers.service import answers
from tasks.settings.errors import ConfigError
from tasks.stages.lineage.run_report import run_pages
from tasks.stages.runs.run_store import load_run
from tasks.storage.files import read_json
from tasks.storage.home import Home, current_home

_SUMMARY = "summary"
_WIDTH = 80
_MOST_ROWS = 12


def show_outcome(outcome: Outcome, console: Console, *, full: bool) -> None:
    """Print how a run ended: its headline and table, or with `full` all of its report."""
    if outcome.awaits:
        _show_waiting(outcome, console)
        return
    folder = shown_report(outcome.report, outcome.run_id)
    text = f"all {outcome.stages} stages are done already, nothing ran"
    if outcome.run_id:
        text = f"run {outcome.run_id}: {outcome.stages} stages, {outcome.cached} of them were done"
    console.print(text, highlight=False)
    if full or not _show_headline(folder, console, outcome.run_id or "latest"):
        show_report_text(folder, console)
    page = folder / "report.html"
    lines = [f"report: {page if page.is_file() else folder}"]
    pages = _pages(current_home(), outcome.run_id) if outcome.run_id else {}
    lines += [f"{name}: {address}" for name, address in pages.items() if address]
    if silent := " and ".join(name for name, address in pages.items() if not address):
        lines.append(f"{silent}: `sparring up` starts what shows the pages of this run")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _show_waiting(outcome: Outcome, console: Console) -> None:
    """Print what a run waits for, and how it goes on."""
    for record in outcome.awaits:
        text = f"{record.title}: {record.error}"
        console.print(text, style="yellow", soft_wrap=True, highlight=False, markup=False)
    text = (
        f"run {outcome.run_id} waits; what does not need the answers is done, and "
        f"`sparring resume {outcome.run_id}` goes on with them"
    )
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def report_file(folder: Path, name: str) -> Path:
    """Return a file of a run's result.

    Raises:
        ConfigError: The run's last stage left no such file.
    """
    if (folder / name).is_file():
        return folder / name
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise ConfigError(f"this run's last stage left no {name}; in {folder} there is: {found}")


def show_report_text(folder: Path, console: Console) -> None:
    """Print a report as text; of a result without one, what it consists of."""
    if not (folder / "report.md").is_file():
        names = ", ".join(sorted(path.name for path in folder.iterdir()))
        console.print(f"no report, but: {names}", highlight=False, markup=False)
        return
    text = (folder / "report.md").read_text("utf-8")
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_headline(folder: Path, console: Console, run: str) -> bool:
    """Print who won and the table of it; return whether there is such a thing."""
    path = folder / "report.json"
    report = read_json(path) if path.is_file() else {}
    if not report.get("headline"):
        return False
    console.print(f"\n{report['headline']}", style="bold", markup=False, highlight=False)
    tables = report["tables"]
    found = tables.get(_SUMMARY) or next(iter(tables.values()), None)
    if found is None:
        return False
    rows = [["–" if cell is None else cell for cell in row] for row in found["rows"]]
    console.print(table(found["columns"], rows[:_MOST_ROWS]), width=min(_WIDTH, console.width))
    left = len(rows) - _MOST_ROWS
    more = f"{left} more policies, the whole report" if left > 0 else "the whole report"
    notes = " ".join(filter(None, (report.get("reading"), found["note"])))
    text = f"{notes} `sparring report {run}` prints {more}.\n"
    console.print(text, style="bright_black", markup=False)
    return True


def _pages(home: Home, run_id: str) -> dict[str, str]:
    """Return by server where a run's page is; empty where the server does not answer now."""
    pages = run_pages(home, load_run(home, run_id))
    sites = {name: re.split("/#|/runs/", address)[0] for name, address in pages.items()}
    return {name: address if _answers(sites[name]) else "" for name, address in pages.items()}


def _answers(site: str) -> bool:
    return bool(site) and answers(site, seconds=3.0)
