"""The verbs that start and stop the servers: up, down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, app, console


@app.command()
def up(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need passwords.")
    ] = "127.0.0.1",
    prefect_port: Annotated[
        int | None, typer.Option(help="Port of Prefect. Default: last time's, else a free one.")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(help="Port of MLflow. Default: last time's, else a free one.")
    ] = None,
    mlruns: Annotated[Path, typer.Option(help="Folder of MLflow's database.")] = Path("mlruns"),
    as_json: AsJson = False,
) -> None:
    """Start the Prefect and MLflow servers; they run until `sparring down`."""
    from flows.cli.servers import show_servers, start

    state = start(
        console, host=host, prefect_port=prefect_port, mlflow_port=mlflow_port, mlruns=mlruns
    )
    show_servers(state, console, as_json=as_json)


@app.command()
def down(
    force: Annotated[
        bool, typer.Option("--force", help="Stop them even under a run that uses them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the servers of this state folder."""
    from flows.cli.servers import stop

    stop(console, force=force, as_json=as_json)
