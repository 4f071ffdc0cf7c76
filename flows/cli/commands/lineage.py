"""The verbs that trace artifacts to what they were made from: lineage, why, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, Thing, app, console

Second = Annotated[str, typer.Argument(help="The run or artifact to compare it with.")]


@app.command()
def lineage(
    name: Thing,
    up: Annotated[bool, typer.Option("--up", help="What it comes from; the default.")] = False,
    down: Annotated[bool, typer.Option("--down", help="What was made of it.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as one page to this file.")
    ] = None,
    depth: Annotated[int, typer.Option(help="Steps shown in the terminal; 0 is all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what an artifact or a run comes from, and what was made of it."""
    from flows.cli.lineage import show_lineage

    up = up or not down
    show_lineage(name, console, up=up, down=down, html=html, depth=depth, as_json=as_json)


@app.command()
def why(first: Thing, second: Second, as_json: AsJson = False) -> None:
    """Say why two artifacts or runs differ: the first difference between their ancestries."""
    from flows.cli.why import show_why

    show_why(first, second, console, as_json=as_json)


@app.command()
def compare(
    first: Thing,
    second: Second,
    policy: Annotated[
        str | None,
        typer.Option(help="Which policy of the runs, as in their reports; the last by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the policies of two runs prompt by prompt, under every judge they share."""
    from flows.cli.comparing.comparison import show_comparison

    show_comparison(first, second, console, policy=policy, as_json=as_json)
