"""The verb that hands a model or data to other tools: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, Thing, app, console
from tasks.settings.errors import ConfigError


@app.command()
def export(
    name: Thing,
    folder: Annotated[
        Path, typer.Argument(help="A new or an empty folder; with dvc, one it wrote before, too.")
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="hf: a model folder, or groups as they are; trl: data in TRL's columns; dvc: a "
            "git repository that `dvc get` and `import` take, of a run, an alias or an output. "
            "Default: hf for a model, trl for data.",
        ),
    ] = None,
    messages: Annotated[
        bool,
        typer.Option(
            "--messages",
            help="Data in TRL's columns: as messages, for a chat template, where prompts are plain "
            "texts too.",
        ),
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license", help="License for the card, as the hub spells it. Default: unknown."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model or data as a folder for transformers, TRL and the hub, or for DVC."""
    from flows.cli.export import write_dvc_export, write_export

    if form == "dvc":
        if messages or licence is not None:
            raise ConfigError("--format dvc writes no data: leave --messages and --license out")
        write_dvc_export(name, folder, console, as_json=as_json)
        return

    write_export(
        name, folder, console, form=form, messages=messages, licence=licence, as_json=as_json
    )
