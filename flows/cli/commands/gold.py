"""The verb of gold answers: gold."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, ConfigFile, Overrides, app, console
from flows.runs.console import print_json
from tasks.settings.errors import ConfigError


class GoldTask(StrEnum):
    """What can be done about gold."""

    prompts = "prompts"


@app.command()
def gold(
    what: Annotated[
        GoldTask, typer.Argument(help="prompts: write the queries that a run will ask.")
    ],
    config: ConfigFile = None,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "gold-prompts.jsonl"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the queries that a run will ask gold for, to be answered in a file."""
    from flows.registry import read_any_config
    from flows.runs.gold_prompts import write_gold_prompts
    from flows.starting.config_file import require_free

    if config is None:
        raise ConfigError("name the configuration whose queries are meant: --config FILE")
    require_free(output, force=force)
    _, settings = read_any_config(config, overrides or [])
    count = write_gold_prompts(settings, output)
    if as_json:
        print_json({what.value: str(output), "queries": count})
        return
    console.print(
        f"wrote {count:,} queries to {output}: add a `response` to each line, and name the file as "
        "gold.path",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
