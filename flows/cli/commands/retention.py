"""The verbs that decide what stays on disk: pin, unpin, gc."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, Thing, app, console


@app.command()
def pin(
    name: Thing,
    note: Annotated[str, typer.Option(help="Why it is pinned, for those who read it later.")] = "",
    as_json: AsJson = False,
) -> None:
    """Protect an artifact, or all that a run used and made, from `gc`."""
    from flows.cli.retention import pin_named

    pin_named(name, note, console, as_json=as_json)


@app.command()
def unpin(name: Thing, as_json: AsJson = False) -> None:
    """Take a pin away: `gc` may delete the artifact or run again."""
    from flows.cli.retention import unpin_named

    unpin_named(name, console, as_json=as_json)


@app.command()
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be deleted, with its size.")
    ] = False,
    keep_runs: Annotated[
        int, typer.Option(min=0, help="How many completed runs of each flow are kept: the newest.")
    ] = 3,
    keep_weights: Annotated[
        int | None,
        typer.Option(min=0, help="How many of those keep their models too. Default: all."),
    ] = None,
    days: Annotated[
        float,
        typer.Option(min=0, help="How long stopped runs and their checkpoints can be resumed."),
    ] = 30.0,
    trash_days: Annotated[
        float,
        typer.Option(min=0, help="How long last copies stay in the trash; 0 frees them now."),
    ] = 7.0,
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Delete on the remote too; no run may be at work."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete last copies without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what no kept run, alias or pin needs; manifests stay, so lineage still answers."""
    from flows.cli.retention import collect_garbage
    from tasks.stages.retention.roots import Policy

    policy = Policy(keep_runs, keep_weights, days, trash_days)
    collect_garbage(policy, console, dry_run=dry_run, remote=remote, yes=yes, as_json=as_json)
