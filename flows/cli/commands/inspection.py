"""The verbs that only read: status, ls, show, report, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands.app import (
    AsJson,
    ConfigFile,
    Fields,
    MaxBadShare,
    Overrides,
    RunName,
    Thing,
    app,
    console,
    named_fields,
)
from flows.cli.commands.completion import run_names
from tasks.data.sources.tally import MAX_BAD_SHARE
from tasks.settings.errors import ConfigError

RunNames = Annotated[
    list[str] | None,
    typer.Argument(
        help="A run: its id, the beginning of one, `latest`, or `champion`; latest by default. "
        "Several runs of one flow make one report.",
        autocompletion=run_names,
    ),
]
JoinedOut = Annotated[
    Path | None,
    typer.Option(help="Also write the report of several runs to this new folder."),
]


@app.command()
def status(
    name: RunName = "latest",
    schedule: Annotated[
        bool,
        typer.Option(
            "--schedule",
            help="Instead: whether the scheduled runs of every deployment come when they are due. "
            "Exit code 3 if one is overdue.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a run and each of its stages are, or whether schedules are kept."""
    if schedule:
        from flows.cli.deploy import show_ticks

        show_ticks(console, as_json=as_json)
        return
    from flows.cli.views import show_status

    show_status(name, console, as_json=as_json)


@app.command("ls")
def list_things(
    what: Annotated[
        str, typer.Argument(help="runs, artifacts, aliases, bans, operations, flows or configs.")
    ] = "runs",
    as_json: AsJson = False,
) -> None:
    """List runs, artifacts, aliases, bans, operations, flows or configs."""
    from flows.cli.lists import show_list

    show_list(what, console, as_json=as_json)


@app.command()
def show(name: Thing, as_json: AsJson = False) -> None:
    """Show what an artifact is and what it was made from, or a run's configuration."""
    from flows.cli.views import show_artifact_or_run

    show_artifact_or_run(name, console, as_json=as_json)


@app.command()
def report(names: RunNames = None, out: JoinedOut = None, as_json: AsJson = False) -> None:
    """Show a run's report and where its files are, or one report of several runs."""
    from flows.cli.views import show_joined_report, show_report

    if names and len(names) > 1:
        show_joined_report(names, console, out=out, as_json=as_json)
    elif out:
        raise ConfigError("--out is for the report of several runs; one run's has its own folder")
    else:
        show_report(names[0] if names else "latest", console, as_json=as_json)


@app.command()
def doctor(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Inspect a data file; give several to check their overlap."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Model folder or hub name: adds token lengths, truncation and merges."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="Chat template by name.")] = None,
    max_prompt_tokens: Annotated[int, typer.Option(help="Limit for the truncation rate.")] = 256,
    max_response_tokens: Annotated[int, typer.Option(help="Limit for the truncation rate.")] = 256,
    fields: Fields = None,
    max_bad_share: MaxBadShare = MAX_BAD_SHARE,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine and the store, or data or a config before a run (2: a run refuses them).

    With --config each source, file and model is opened, and paid servers say which models they
    have: which need the network, which cannot work.
    """
    from flows.cli.doctor import show_config_report, show_data_report, show_machine_report

    if config and data:
        raise ConfigError("give --data or --config, not both")
    if config:
        if not show_config_report(config, overrides or [], console, as_json=as_json):
            raise typer.Exit(2)
        return
    if not data:
        show_machine_report(console, as_json=as_json)
        return
    usable = show_data_report(
        data,
        tokenizer,
        template,
        (max_prompt_tokens, max_response_tokens),
        console,
        fields=named_fields(fields),
        max_bad_share=max_bad_share,
        as_json=as_json,
    )
    if not usable:
        raise typer.Exit(2)
