"""The verb that a project begins with: init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, Fields, MaxBadShare, app, console, named_fields
from flows.runs.console import print_json
from tasks.data.sources.tally import MAX_BAD_SHARE


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
    fields: Fields = None,
    max_bad_share: MaxBadShare = MAX_BAD_SHARE,
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

        if flow or data or test or model or gold or template or fields:
            raise ConfigError("--example copies a configuration as it is: give --output alone")
        copied = copy_example(example, output, force=force)
        console.print(f"wrote {copied}", highlight=False)
        if as_json:
            print_json({"config": str(copied)})
        return
    from flows.cli.init import show_new_config
    from flows.starting.config_file import require_free
    from flows.starting.questions import ask

    output = output or Path("my-run.yaml")
    require_free(output, force=force)  # before anybody answers questions for nothing
    answers = ask(
        console,
        flow=flow,
        data=tuple(data or ()),
        test=test,
        model=model,
        gold=gold,
        template=template,
    )
    answers = answers._replace(fields=named_fields(fields), max_bad_share=max_bad_share)
    show_new_config(answers, output, console, as_json=as_json)
