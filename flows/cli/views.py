"""What the read verbs of the CLI print: tables for people, JSON for programs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.cli.lists import outcome
from flows.configs.base import FlowConfig
from flows.runs.console import print_json
from flows.runs.cost import budget_sentences
from flows.runs.ending import report_file, show_report_text
from flows.runs.pace import Pace, replayed
from flows.runs.runner import plan_flow, recorded_config, report_of
from flows.runs.tables import columns, minute, table
from flows.runs.terminal import error_words, run_words, span, stage_words, state_text
from tasks.settings.errors import ConfigError, SparringError
from tasks.settings.loading import dump_config
from tasks.stages.key import stage_title
from tasks.stages.manifest import Manifest, load_manifest
from tasks.stages.runs.context import PlannedStage
from tasks.stages.runs.naming import find_run, find_thing
from tasks.stages.runs.progress import read_progress
from tasks.stages.runs.run_journal import stage_ends, stage_events
from tasks.stages.runs.run_store import Run, load_run, run_folder
from tasks.stages.runs.states import STATES
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json
from tasks.storage.home import Home, current_home


def show_plan(
    planned: list[PlannedStage], console: Console, *, unfolded: bool, as_json: bool
) -> None:
    """Print what each stage would do; those that wait share a line, unless `unfolded`."""
    if as_json:
        print_json(planned)
        return
    groups = [[stage] for stage in planned] if unfolded else _folded(planned)
    console.print(columns([_plan_row(one) for one in groups], folded={"stage", "why"}))
    todo = [stage for stage in planned if stage.state != "done"]
    known = [stage.seconds for stage in todo if stage.seconds is not None]
    cost = f", about {span(sum(known))} by past runs" if known else ""
    unknown = len(todo) - len(known)
    guess = f" ({unknown} never ran here)" if unknown else ""
    console.print(f"{len(planned) - len(todo)} stages done, {len(todo)} to run{cost}{guess}")


def _folded(planned: list[PlannedStage]) -> list[list[PlannedStage]]:
    """Return the stages of a plan by line: those that wait as one per part of the flow."""
    groups: list[list[PlannedStage]] = []
    chapters: dict[str, list[PlannedStage]] = {}
    for stage in planned:
        last = groups[-1][-1] if groups else None
        if stage.state != "waiting":
            groups.append([stage])
        elif stage.chapter in chapters:
            chapters[stage.chapter].append(stage)
        elif last and last.state == "waiting" and not (last.chapter or stage.chapter):
            groups[-1].append(stage)
        else:
            groups.append([stage])
            chapters |= {stage.chapter: groups[-1]} if stage.chapter else {}
    return groups


def _plan_row(stages: list[PlannedStage]) -> dict[str, object]:
    first, last = stages[0], stages[-1]
    title, why = first.title, _shortened(first.reason)
    if len(stages) > 1:
        title = first.chapter or f"{first.stage} … {last.stage}"
        title, why = f"{title}, {len(stages)} stages", ""
    known = [one.seconds for one in stages if one.seconds is not None]
    return {
        "": state_text(first.state),
        "stage": title,
        "kept": f"{first.parts} parts" if first.parts else "",
        "took": span(sum(known)) if known and first.state != "done" else "",
        "why": why,
    }


def show_status(name: str, console: Console, *, as_json: bool) -> None:
    """Print how a run and each of its stages are."""
    home = current_home()
    run = find_run(home, name, latest=tuple(STATES))
    events = stage_events(home, run.id)
    ends = stage_ends(events)
    pace = _pace_of(home, run, events) if run.status == "running" else None
    if as_json:
        where = {"progress": _where(pace)} if pace else {}
        told = asdict(run) | {"outcome": outcome(home, run)}
        print_json({"run": told, "stages": ends, **where})
        return
    console.print(_run_line(home, run), highlight=False)
    with suppress(SparringError, StorageError):  # its configuration may be of another version
        for sentence in budget_sentences(home, run.id, recorded_config(home, run)[1]):
            console.print(f"budget: {sentence}", highlight=False)
    # A stage that was running when its process died is running no more.
    ended = {} if run.status == "running" else {"running": "interrupted"}
    rows = [
        {
            "": state_text(ended.get(event["state"], event["state"])),
            "stage": stage_title(event["stage"], event["label"]),
            "took": span(event["seconds"]) if event["seconds"] else "",
            "key": event["key"][:12],
        }
        for event in ends
    ]
    if rows:
        console.print(columns(rows, folded={"stage"}))
    for row, event in zip(rows, ends, strict=True):
        if why := error_words(event["state"], event["error"]):
            console.print(f"{row['stage']}: {why}", highlight=False, markup=False, soft_wrap=True)
    for title, stage in pace.running.items() if pace else ():
        console.print(f"{title}: {stage_words(stage) or 'begun'}", highlight=False, markup=False)
    if pace and (words := run_words(pace)):
        console.print(words, highlight=False)
    if run.status not in ("running", "completed"):
        word = "mend what it failed on, then" if run.is_refused else "go on with it"
        console.print(f"{word}: {run.way_on}", soft_wrap=True)


def _run_line(home: Home, run: Run) -> str:
    came_to = outcome(home, run)
    state = f"{run.status}: {came_to}" if came_to else run.status
    return f"run {run.id} ({run.flow}) is {state}; started {minute(run.started)} UTC"


def _pace_of(home: Home, run: Run, events: list[dict[str, Any]]) -> Pace:
    """Return where a run is that another process works on; its plan is made anew."""
    try:
        planned, _ = plan_flow(*recorded_config(home, run))
    except (SparringError, StorageError):
        # Something of the user's is gone meanwhile: it can still be said how far the stages are.
        planned = []
    return replayed(planned, events, read_progress(run_folder(home, run.id)))


def _where(pace: Pace) -> dict[str, Any]:
    """Return where a run is as plain values."""
    running = [
        {"title": title, "number": pace.number(title), **stage.to_json(), "left": stage.left}
        for title, stage in pace.running.items()
    ]
    return {"stages": pace.total, "running": running, **pace.left()._asdict()}


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
        print_json({"run": asdict(run), "config": config.model_dump(mode="json")})
        return
    console.print(_run_line(home, run), highlight=False)
    if run.config_path:
        console.print(f"from {run.config_path}:", highlight=False, markup=False, soft_wrap=True)
    console.print(dump_config(config), markup=False, highlight=False)


def show_report(name: str, console: Console, *, as_json: bool) -> None:
    """Print a run's report, or its numbers as JSON."""
    folder = report_of(name)
    if as_json:
        print_json(read_json(report_file(folder, "report.json")))
        return
    page = report_file(folder, "report.md").with_suffix(".html")
    show_report_text(folder, console)
    console.print(f"report: {page if page.is_file() else folder}", soft_wrap=True, highlight=False)


def show_joined_report(
    names: list[str], console: Console, *, out: Path | None, as_json: bool
) -> None:
    """Print one report of several runs, and write it to the folder `out` where one is named.

    Raises:
        ConfigError: A run has no report, they cannot be joined, or there is something in `out`.
    """
    from flows.cli.comparing.sides import side_of
    from flows.cli.lineage import known_graph
    from tasks.evaluation.report.document import render_markdown, to_plain, write_report
    from tasks.evaluation.report.joined import RunReport, join_runs

    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already: name a new folder for the joined report")
    graph = known_graph(console)
    home = current_home()
    runs = []
    for name in dict.fromkeys(find_run(home, name).id for name in names):
        _, config = recorded_config(home, find_run(home, name))
        side = side_of(graph, name, None)
        tables = read_json(report_file(report_of(name), "report.json"))["tables"]
        base = base_label(config) if isinstance(config, FlowConfig) else "-"
        runs.append(RunReport(name, base, tables, side.judges, frozenset(side.prompts)))
    if len(runs) < 2:
        raise ConfigError(f"{' and '.join(names)} are the same run: name another one to join")
    report = join_runs(runs)
    if out:
        write_report(report, out)
    if as_json:
        print_json(to_plain(report, out or Path()))
    elif out:
        show_report_text(out, console)
        console.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)
    else:
        console.print(
            render_markdown(report, Path()), markup=False, highlight=False, soft_wrap=True
        )


def base_label(config: FlowConfig) -> str:
    """Return what a run's policies were trained from, as a table calls it.

    A named start, else the model's folder or hub name, else the shape that was built.
    """
    model = config.model
    if config.start.policy:
        return config.start.policy.rpartition("/")[2][:12]
    if model.architecture:
        shape = model.architecture
        return f"{shape.kind} {shape.hidden_size}x{shape.layers}"
    return Path(model.path).name if model.path else str(model.hub)


def _show_manifest(home: Home, found: Manifest, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
        return
    inputs = [
        {
            "input": role,
            "digest": one.digest[:12],
            "made by": one.stage,
            "key": one.key[:12],
            "part": one.part,
        }
        for role, one in found.inputs.items()
    ]
    title = stage_title(found.stage, found.label)
    for line in (
        f"{title} (version {found.version})",
        f"key {found.key}",
        f"digest {found.digest}, {found.size:,} bytes",
        f"in {found.folder(home)}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if inputs:
        console.print(columns(inputs, folded={"input"}))
    figures = [(name, f"{value:.6g}") for name, value in found.metrics.items()]
    console.print(table(("metric", "value"), figures))
    console.print_json(data={"config": found.config, "seed": found.seed})
    console.print_json(data=found.provenance)


def _shortened(reason: str) -> str:
    # What a report waits for fills a page; the first few say enough, --json has them all.
    first, *others = reason.split(", ")
    return f"{first} and {len(others)} more" if others else first
