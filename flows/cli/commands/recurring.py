"""The verbs of recurring runs: deploy, trend, promote, demote, and moving a champion elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, ConfigFile, Overrides, app, console
from flows.cli.commands.completion import alias_flow_names
from tasks.settings.errors import ConfigError

OfFlow = Annotated[
    str | None,
    typer.Option(
        "--flow",
        help="The flow whose models are meant, PROJECT.FLOW in a project. Default: the only one "
        "that has any.",
        autocompletion=alias_flow_names,
    ),
]


@app.command()
def deploy(
    flow: Annotated[
        str | None,
        typer.Argument(help="Name of the flow. Default: each whose config has a schedule."),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every flow; the same as to name none.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Register nothing; name the deployments that the installed code cannot run, and "
            "the commands that mend them. Exit code 3 if there are any.",
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the deployment. Default: the config's project, or `recurring`."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Work pool that runs it. Default: where it is; a new one in `sparring`."),
    ] = None,
    create_pool: Annotated[
        bool, typer.Option("--create-pool", help="Make a process pool if there is none.")
    ] = False,
    cron: Annotated[
        str | None, typer.Option(help="Cron expression, instead of schedule.cron.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of the cron, instead of schedule.timezone.")
    ] = None,
    pause: Annotated[
        bool | None,
        typer.Option(
            "--pause/--no-pause", help="Pause or resume the schedule. Default: leave it as it is."
        ),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="Where relative paths count from, for a process pool. Default: here."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Take away what the deployment has and the configuration has not."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register a flow with the Prefect server, so that it runs by its schedule."""
    from flows.cli.deploy import deploy_flows, show_deployment_check

    if every and flow is not None:
        raise ConfigError(f"give --all or the flow {flow!r}, not both")
    if check:
        show_deployment_check(flow, console, as_json=as_json)
        return
    words = list(overrides or [])
    words += [f"schedule.cron={cron!r}"] if cron is not None else []
    words += [f"schedule.timezone={timezone!r}"] if timezone is not None else []
    folder = working_dir or Path.cwd()
    keys = [word.partition("=")[0].partition(".") for word in words]
    said = tuple(key or "schedule" for first, _, key in keys if first == "schedule")
    options = (name, pool, create_pool, pause, folder, config is not None, said, replace)
    deploy_flows(flow, config, words, options, console, as_json=as_json)


@app.command()
def trend(
    flow: Annotated[
        str | None,
        typer.Argument(
            help="The flow, PROJECT.FLOW in a project. Default: every one.",
            autocompletion=alias_flow_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how scheduled runs did by the same prompts and tester, week after week."""
    from flows.cli.comparing.trends import show_trend

    show_trend(flow, console, as_json=as_json)


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="`candidate`, or a run that was one.")] = "candidate",
    flow: OfFlow = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="Replace one value of the gate: gate.a=b."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the evidence and what the gate says, by the exit code too; move nothing.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a candidate the champion if the gate of its config holds; exit code 3 if not."""
    from flows.cli.champions import promote_candidate

    promote_candidate(name, flow, overrides or [], console, dry_run=dry_run, as_json=as_json)


@app.command()
def demote(
    flow: OfFlow = None,
    ban: Annotated[
        str | None,
        typer.Option(
            help="The reason for which its policy, and all that was made of it, is barred from "
            "promotion and as a start of scheduled runs."
        ),
    ] = None,
    lift_ban: Annotated[
        str | None,
        typer.Option(help="A run whose models are barred no more; the champion stays."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the previous champion the champion again; the history is kept."""
    from flows.cli.champions import lift_bans, restore_champion

    if ban is not None and (lift_ban is not None or not ban.strip()):
        raise ConfigError("--ban wants a reason, and bars what --lift-ban frees: give one of them")
    if lift_ban is not None:
        lift_bans(lift_ban, console, as_json=as_json)
        return
    restore_champion(flow, console, ban=ban, as_json=as_json)


@app.command()
def export_champion(
    folder: Annotated[Path, typer.Argument(help="A new folder for the champion.")],
    flow: OfFlow = None,
    as_json: AsJson = False,
) -> None:
    """Copy the champion into a folder, with its lineage, for a store of any version."""
    from flows.cli.champions import write_champion

    write_champion(flow, folder, console, as_json=as_json)


@app.command()
def import_champion(
    folder: Annotated[Path, typer.Argument(help="What export-champion wrote.")],
    as_json: AsJson = False,
) -> None:
    """Make an exported champion the champion of its flow here."""
    from flows.cli.champions import take_champion

    take_champion(folder, console, as_json=as_json)
