"""The verbs that do the work: run, plan, resume."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.commands.app import (
    AsJson,
    ConfigFile,
    FlowName,
    Overrides,
    RunName,
    app,
    console,
    errors,
)
from flows.runs.console import print_json

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
        from flows.runs.preflight import check_files

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


@app.command()
def resume(name: RunName, full: Full = False, as_json: AsJson = False) -> None:
    """Go on with a run where it stopped; finished stages are not run again."""
    from flows.runs.ending import show_outcome
    from flows.runs.runner import resume_flow

    outcome = resume_flow(name, console)
    if as_json:
        print_json(outcome.to_json())
    else:
        show_outcome(outcome, console, full=full)
