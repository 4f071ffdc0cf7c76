"""The verbs of gold answers, who gives them and what they cost: gold, people, cost."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, ConfigFile, Overrides, app, console
from flows.cli.commands.completion import run_names
from flows.runs.console import print_json
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError


class GoldTask(StrEnum):
    """What can be done about gold."""

    prompts = "prompts"
    estimate = "estimate"


@app.command()
def gold(
    what: Annotated[
        GoldTask,
        typer.Argument(
            help="prompts: write the queries that a run will ask; estimate: say what it will pay."
        ),
    ],
    config: ConfigFile = None,
    overrides: Overrides = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File that prompts are written to.")
    ] = Path("gold-prompts.jsonl"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the queries that a run will ask gold for, or say what their answers will cost."""
    from flows.registry import read_any_config
    from flows.runs.gold_prompts import estimate_run

    if config is None:
        raise ConfigError("name the configuration whose queries are meant: --config FILE")
    _, settings = read_any_config(config, overrides or [])
    if what is GoldTask.prompts:
        _write_prompts(settings, output, force=force, as_json=as_json)
        return
    found = estimate_run(settings)
    if as_json:
        print_json(found.to_json())
    else:
        _say(found.sentence())


def _write_prompts(settings: FrozenConfig, output: Path, *, force: bool, as_json: bool) -> None:
    from flows.runs.gold_prompts import write_gold_prompts
    from flows.starting.config_file import require_free

    require_free(output, force=force)
    count = write_gold_prompts(settings, output)
    if as_json:
        print_json({GoldTask.prompts.value: str(output), "queries": count})
        return
    _say(
        f"wrote {count:,} queries to {output}: add a `response` to each line, and name the file as "
        "gold.path"
    )


@app.command()
def cost(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A run: its id, the beginning of one, or `latest`. Default: all runs.",
            autocompletion=run_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what paid servers were asked and what it cost: dollars, tokens, requests by stage."""
    from flows.runs.cost import show_cost

    show_cost(name, console, as_json=as_json)


@app.command()
def people(as_json: AsJson = False) -> None:
    """Take in what people answered, and say of each set of questions how far it is."""
    from flows.cli.asked_people import show_asked_people

    show_asked_people(console, as_json=as_json)


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
