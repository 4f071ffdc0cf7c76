"""The verbs that copy artifacts to and from the remote: push, pull."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, Thing, app, console


@app.command()
def push(
    name: Thing,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every object there and replace damaged ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy an artifact, or all that a run used, to the remote (SPARRING_REMOTE)."""
    from flows.cli import remote

    remote.show_transfer(remote.push(name, verify=verify), "pushed", console, as_json=as_json)


@app.command()
def pull(name: Thing, as_json: AsJson = False) -> None:
    """Bring an artifact, or all that a run used, from the remote (SPARRING_REMOTE)."""
    from flows.cli import remote

    remote.show_transfer(remote.pull(name), "pulled", console, as_json=as_json)
