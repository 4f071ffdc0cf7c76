"""The verb that lets a language model compare answers: judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import AsJson, ConfigFile, Fields, app, console, named_fields
from flows.cli.commands.completion import thing_names

Judged = Annotated[
    str,
    typer.Argument(
        help="A file of answers, a run, a policy, samples, `champion`, or with --prompts the "
        "folder of a model.",
        autocompletion=thing_names,
    ),
]


@app.command()
def judge(
    first: Judged,
    second: Judged,
    prompts: Annotated[
        Path | None,
        typer.Option(help="File of prompts that both answer anew. Default: what they answered."),
    ] = None,
    config: ConfigFile = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="Replace one value of the judge: judge.a=b."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Which policy of the runs, as in their reports; the last by default."),
    ] = None,
    fields: Fields = None,
    people: Annotated[
        bool,
        typer.Option(
            "--people", help="Also compare the chosen with the rejected answers of the prompts."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and cost; ask nobody.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a language model compare two sides' answers, each pair in both orders.

    The judge is the key `judge` of --config, or of the run that made a side. 100 prompts, one
    answer each, unless judge.prompts says otherwise.
    """
    from flows.cli.comparing.judged_match import Asked, judge_sides

    named = named_fields(fields)
    asked = Asked(prompts, config, overrides or [], policy, named, people)
    judge_sides(first, second, asked, console, dry_run=dry_run, as_json=as_json)
