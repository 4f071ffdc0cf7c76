"""What the read verbs of the CLI print: tables for people, JSON for programs."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from rich.console import Console

from flows.registry import FLOWS, config_headers
from flows.runs.console import json_text
from flows.runs.ending import report_file, show_report_text
from flows.runs.runner import recorded_config, report_of
from flows.runs.terminal import span, state_text, table
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.settings.loading import dump_config
from tasks.stages.manifest import Manifest, list_manifests, load_manifest
from tasks.stages.runs.aliases import ROLES, list_aliases
from tasks.stages.runs.context import PlannedStage
from tasks.stages.runs.naming import find_run, find_thing
from tasks.stages.runs.run_store import list_runs, load_run, stage_events
from tasks.storage.files import read_json
from tasks.storage.home import Home, current_home

_KEY = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
"""A whole key: its beginning is enough for people and for every verb."""


def show_plan(planned: list[PlannedStage], console: Console, *, as_json: bool) -> None:
    """Print what each stage would do."""
    if as_json:
        _print_json([asdict(stage) for stage in planned])
        return
    rows = [
        (
            state_text(stage.state),
            stage.title,
            f"{stage.parts} parts" if stage.parts else "",
            "" if stage.state == "done" else span(stage.seconds),
            _shortened(stage.reason),
        )
        for stage in planned
    ]
    console.print(table(("", "stage", "kept", "took", "why"), rows))
    todo = [stage for stage in planned if stage.state != "done"]
    known = [stage.seconds for stage in todo if stage.seconds is not None]
    cost = f", about {span(sum(known))} by past runs" if known else ""
    unknown = len(todo) - len(known)
    guess = f" ({unknown} never ran here)" if unknown else ""
    console.print(f"{len(planned) - len(todo)} stages done, {len(todo)} to run{cost}{guess}")


def show_status(name: str, console: Console, *, as_json: bool) -> None:
    """Print how a run and each of its stages are."""
    home = current_home()
    run = find_run(home, name)
    latest: dict[str, dict[str, Any]] = {}
    for event in stage_events(home, run.id):
        latest[f"{event['stage']}/{event['label']}"] = event
    if as_json:
        _print_json({"run": asdict(run), "stages": list(latest.values())})
        return
    console.print(f"run {run.id} ({run.flow}) is {run.status}; started {run.started}")
    # A stage that was running when its process died is running no more.
    ended = {} if run.status == "running" else {"running": "interrupted"}
    rows = [
        (
            state_text(ended.get(event["state"], event["state"])),
            f"{event['stage']} · {event['label']}" if event["label"] else event["stage"],
            span(event["seconds"]) if event["seconds"] else "",
            event["key"][:12],
            event["error"],
        )
        for event in latest.values()
    ]
    console.print(table(("", "stage", "took", "key", "error"), rows))
    if run.status in ("failed", "interrupted", "killed"):
        word = "mend what it failed on, then" if run.is_refused else "go on with it"
        console.print(f"{word}: {run.way_on}", soft_wrap=True)


def show_list(what: str, console: Console, *, as_json: bool) -> None:
    """Print runs, artifacts, aliases, flows or configs.

    Raises:
        ConfigError: There is no such list.
    """
    lists = {
        "runs": _runs,
        "artifacts": _artifacts,
        "aliases": _aliases,
        "flows": lambda home: [{"flow": e.name, "does": e.summary} for e in FLOWS.values()],
        "configs": lambda home: [
            {"config": name, "is": line} for name, line in config_headers().items()
        ],
    }
    if what not in lists:
        raise ConfigError(f"there is no list of {what!r}{did_you_mean(what, lists)}")
    rows = lists[what](current_home())
    if as_json:
        _print_json(rows)
    elif rows:
        shown = [tuple(_KEY.sub(r"\1", str(value)) for value in row.values()) for row in rows]
        console.print(table(tuple(rows[0]), shown))
    else:
        console.print(f"no {what} yet in {current_home().root}")


def show_artifact_or_run(name: str, console: Console, *, as_json: bool) -> None:
    """Print an artifact's manifest by key or digest, or a run with its configuration.

    Raises:
        ConfigError: Nothing, or more than one thing, is called so.
    """
    home = current_home()
    thing = find_thing(home, name)
    if made := load_manifest(home, thing.stage, thing.key):
        _show_manifest(home, made, console, as_json=as_json)
        return
    run = load_run(home, thing.key)
    _, config = recorded_config(home, run)
    if as_json:
        _print_json({"run": asdict(run), "config": config.model_dump(mode="json")})
        return
    console.print(table(("", ""), list(asdict(run).items())))
    console.print(dump_config(config), markup=False, highlight=False)


def show_report(name: str, console: Console, *, as_json: bool) -> None:
    """Print a run's report, or its numbers as JSON."""
    folder = report_of(name)
    if as_json:
        _print_json(read_json(report_file(folder, "report.json")))
        return
    page = report_file(folder, "report.md").with_suffix(".html")
    show_report_text(folder, console)
    console.print(f"report: {page if page.is_file() else folder}", soft_wrap=True, highlight=False)


def _show_manifest(home: Home, found: Manifest, console: Console, *, as_json: bool) -> None:
    if as_json:
        _print_json(found.to_json())
        return
    inputs = [
        (role, one.digest, one.stage, one.key[:12], one.part) for role, one in found.inputs.items()
    ]
    title = f"{found.stage} · {found.label}" if found.label else found.stage
    console.print(f"{title} (version {found.version}), key {found.key}", highlight=False)
    console.print(f"digest {found.digest}, {found.size:,} bytes in {found.folder(home)}")
    console.print(table(("input", "digest", "made by", "key", "part"), inputs))
    figures = [(name, f"{value:.6g}") for name, value in found.metrics.items()]
    console.print(table(("metric", "value"), figures))
    console.print_json(data={"config": found.config, "seed": found.seed})
    console.print_json(data=found.provenance)


def _runs(home: Home) -> list[dict[str, Any]]:
    return [
        {"run": run.id, "flow": run.flow, "status": run.status, "started": run.started}
        for run in list_runs(home)
    ]


def _artifacts(home: Home) -> list[dict[str, Any]]:
    return [
        {
            "key": found.key[:12],
            "stage": found.stage,
            "label": found.label,
            "digest": found.digest,
            "bytes": found.size,
            "created": str(found.provenance.get("created", "")),
        }
        for found in list_manifests(home)
    ]


def _aliases(home: Home) -> list[dict[str, Any]]:
    return [
        {
            "flow": record.flow,
            "alias": record.alias,
            **{role: record.models.get(role, "") for role in ROLES},
            "run": record.run,
            "since": record.time,
            "why": record.reason,
        }
        for record in list_aliases(home)
    ]


def _shortened(reason: str) -> str:
    # What a report waits for fills a page; the first few say enough, --json has them all.
    first, *others = reason.split(", ")
    return f"{first} and {len(others)} more" if others else first


def _print_json(values: Any) -> None:
    print(json_text(values))
