"""The verbs that do the work: rehearse, run, plan, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import (
    AsJson,
    ConfigFile,
    FlowName,
    Overrides,
    app,
    console,
    errors,
)
from flows.cli.commands.completion import run_names
from flows.runs.console import print_json

Unfinished = Annotated[
    str,
    typer.Argument(
        help="A run: its id, the beginning of one, or `latest`: here the newest unfinished one.",
        autocompletion=run_names,
    ),
]
Full = Annotated[
    bool, typer.Option("--full", help="Print the whole report at the end, not its headline alone.")
]


@app.command()
def run(
    flow: FlowName,
    config: ConfigFile = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the config and its files, and print it whole."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check finished stages by reading every byte.")
    ] = False,
    full: Full = False,
    as_json: AsJson = False,
) -> None:
    """Run a flow; whatever is done already is skipped."""
    from flows.registry import find_config, find_flow, read_config
    from tasks.settings.loading import dump_config

    entry = find_flow(flow)
    settings = read_config(entry, config, overrides or [])
    if dry_run and as_json:
        print_json(settings.model_dump(mode="json"))
        return
    if dry_run:
        from flows.configs.recurring import RecurringConfig
        from flows.runs.preflight import check_files, check_keys

        check_keys(settings)
        if isinstance(settings, RecurringConfig):
            check_files(settings)
        typer.echo(dump_config(settings), nl=False)
        return
    from flows.runs.ending import show_outcome
    from flows.runs.runner import run_flow

    path = str(find_config(entry, config))
    outcome = run_flow(entry, settings, console, config_path=path, verify=verify)
    if as_json:
        print_json(outcome.to_json())
    else:
        show_outcome(outcome, console, full=full)


@app.command()
def rehearse(
    flow: FlowName,
    config: ConfigFile = None,
    overrides: Overrides = None,
    rows: Annotated[
        int, typer.Option(min=16, help="First rows to read of each file or subset.")
    ] = 128,
    layers: Annotated[int, typer.Option(min=1, help="Layers that models are left with.")] = 2,
    full_width: Annotated[
        bool, typer.Option("--full-width", help="Leave the layers as wide as they are.")
    ] = False,
    placed: Annotated[
        bool,
        typer.Option("--placed", help="Also use the worker pools and the remote, in a corner."),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="GPU of the real run, such as h100 or h100:64 (GB free). Default: here."),
    ] = None,
    dollars_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of one device and hour.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep what the rehearsal made here. Default: nothing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a config whole but small, in minutes, and say what the real run would fail at and need.

    First rows of every source, random models of few layers, two steps of each training; every stage
    and every branch. Nothing is kept and nothing paid is called. Exits with 1 where it would fail.
    """
    from flows.registry import find_flow, read_config
    from flows.rehearsal.answer import rehearsal_json, show_rehearsal
    from flows.rehearsal.rehearsal import Options, rehearse
    from flows.shrinking.config import Smallness
    from flows.shrinking.models import SmallModel

    entry = find_flow(flow)
    settings = read_config(entry, config, overrides or [])
    heads = None if full_width else SmallModel().heads
    model = SmallModel(layers=layers, heads=heads)
    options = Options(Smallness(rows=rows), model, device, folder, placed=placed)
    found = rehearse(entry, settings, options, console)
    if as_json:
        print_json(rehearsal_json(found, dollars_per_hour))
    else:
        show_rehearsal(found, console, dollars_per_hour)
    if found.failures:
        raise typer.Exit(1)


@app.command()
def plan(
    flow: FlowName,
    config: ConfigFile = None,
    overrides: Overrides = None,
    unfolded: Annotated[
        bool,
        typer.Option("--all", help="A line for each stage that waits, not one for each epoch."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say per stage whether it is done, partly done or to run, why, and what it cost last time."""
    from flows.cli.views import show_plan
    from flows.registry import find_flow, read_config
    from flows.runs.gold_prompts import planned_bill, planned_waits
    from flows.runs.runner import plan_flow
    from flows.steps.hub_commits import pinned
    from tasks.settings.errors import ConfigError

    entry = find_flow(flow)
    settings = read_config(entry, config, overrides or [])
    try:
        settings = pinned(settings)
    except ConfigError as error:
        errors.print(f"planned as if nothing on the hub had moved: {error}", soft_wrap=True)
    planned, _ = plan_flow(entry, settings)
    show_plan(planned, console, unfolded=unfolded, as_json=as_json)
    told = () if as_json else (planned_bill(settings, planned), planned_waits(settings, planned))
    for text in filter(None, told):
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def resume(
    name: Unfinished = "latest",
    budgets: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="Raise a budget: budget.hours=4. May be repeated."),
    ] = None,
    full: Full = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run where it stopped; finished stages are not run again."""
    from flows.runs.ending import show_outcome
    from flows.runs.runner import resume_flow

    outcome = resume_flow(name, console, budgets or [])
    if as_json:
        print_json(outcome.to_json())
    else:
        show_outcome(outcome, console, full=full)
