"""The verbs that decide what stays on disk: pin, unpin, gc."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, app, console

Thing = Annotated[str, typer.Argument(help="Key or digest of an artifact, or the id of a run.")]


@app.command()
def pin(
    name: Thing,
    note: Annotated[str, typer.Option(help="Why, for those who read it later.")] = "",
) -> None:
    """Keep an artifact, or all of a run, whatever `gc` is told."""
    from flows.cli.retention import keep

    keep(name, note, console)


@app.command()
def unpin(name: Thing) -> None:
    """Let a pinned artifact or run go the way of the others."""
    from flows.cli.retention import let_go

    let_go(name, console)


@app.command()
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and how many bytes.")
    ] = False,
    keep_runs: Annotated[
        int, typer.Option(min=0, help="Completed runs of each flow that stay, the newest.")
    ] = 3,
    keep_weights: Annotated[
        int | None,
        typer.Option(min=0, help="Of how many of them the models stay. Default: all."),
    ] = None,
    days: Annotated[
        float,
        typer.Option(min=0, help="How long stopped runs and their checkpoints can be resumed."),
    ] = 30.0,
    remote: Annotated[
        bool, typer.Option("--remote", help="Drop it on the remote too; nobody may be at work.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Drop last copies without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Drop what no kept run, alias or pin needs; manifests stay, so that lineage still answers."""
    from flows.cli.retention import clean_up
    from tasks.stages.retention.roots import Policy

    policy = Policy(keep_runs, keep_weights, days)
    clean_up(policy, console, dry_run=dry_run, remote=remote, yes=yes, as_json=as_json)
