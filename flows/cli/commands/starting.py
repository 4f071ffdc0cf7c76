"""The verb that a project begins with: init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, app, console
from flows.runs.console import print_json


@app.command()
def init(
    flow: Annotated[
        str | None, typer.Argument(help="Flow to write a configuration for. Default: apo.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="File or folder of preference pairs; may be given twice."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", help="Pairs to measure on. Default: a share of --data."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model folder or hub name, or small: made here. Default: small."),
    ] = None,
    gold: Annotated[
        str | None,
        typer.Option(
            help="File of gold answers, or chosen: the pairs' own chosen answers. Default: chosen."
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Chat template by name. Default: the model's own, else hh.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: my-run.yaml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    example: Annotated[
        str | None,
        typer.Option(help="Copy a ready configuration: that of a flow, or one of `ls configs`."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a configuration of your own from your pairs, or copy an example."""
    if example is not None:
        from flows.starting.config_file import copy_example
        from tasks.settings.errors import ConfigError

        if flow or data or test or model or gold or template:
            raise ConfigError("--example copies a configuration as it is: give --output alone")
        copied = copy_example(example, output, force=force)
        console.print(f"wrote {copied}", highlight=False)
        if as_json:
            print_json({"config": str(copied)})
        return
    from flows.cli.init import show_new_config
    from flows.starting.questions import ask

    answers = ask(
        console,
        flow=flow,
        data=tuple(data or ()),
        test=test,
        model=model,
        gold=gold,
        template=template,
    )
    show_new_config(answers, output or Path("my-run.yaml"), console, force=force, as_json=as_json)
