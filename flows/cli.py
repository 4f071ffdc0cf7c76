"""The command `sparring`: run, plan, inspect and resume alignment flows.

Exit codes: 0 ok; 1 failed after it started; 2 usage or configuration; 3 drift or gate refused;
4 budget exhausted; 130 interrupted with state saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from tasks.settings.errors import SparringError
from tasks.storage.errors import StorageError

console = Console()
errors = Console(stderr=True)


class ExitCodes(TyperGroup):
    """Ends a command with one sentence on stderr and the exit code that says how it ended."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except (SparringError, StorageError) as error:
            _say(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _say("interrupted; state is saved, `sparring resume latest` goes on from here")
            raise typer.Exit(130) from None
        except OSError as error:
            name = f": {error.filename}" if error.filename else ""
            _say(f"{error.strerror or error}{name}")
            raise typer.Exit(1) from None


app = typer.Typer(
    name="sparring",
    cls=ExitCodes,
    help="LLM preference alignment as recurring, resumable, traceable workflows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
FlowName = Annotated[str, typer.Argument(help="Name of the flow, for example apo.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file, or a name from `sparring ls configs`."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-S", help="Replace one value: a.b=c. May be given more than once."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
RunName = Annotated[str, typer.Argument(help="Id of a run, the beginning of one, or `latest`.")]


@app.command()
def run(
    flow: FlowName,
    config: ConfigFile = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate and print the resolved config; no server.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check finished stages by reading every byte.")
    ] = False,
) -> None:
    """Run a flow; whatever is done already is skipped."""
    from flows.catalogue import find_config, find_flow, read_config
    from tasks.settings.loading import dump_config

    entry = find_flow(flow)
    settings = read_config(entry, config, overrides or [])
    if dry_run:
        typer.echo(dump_config(settings), nl=False)
        return
    from flows.run import run_flow
    from flows.views import show_outcome

    path = str(find_config(entry, config))
    show_outcome(run_flow(entry, settings, console, config_path=path, verify=verify), console)


@app.command()
def plan(
    flow: FlowName, config: ConfigFile = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Say per stage whether it is done, partly done or to run, why, and what it cost last time."""
    from flows.catalogue import find_flow, read_config
    from flows.run import plan_flow
    from flows.views import show_plan

    entry = find_flow(flow)
    planned, _ = plan_flow(entry, read_config(entry, config, overrides or []))
    show_plan(planned, console, as_json=as_json)


@app.command()
def resume(name: RunName) -> None:
    """Go on with a run where it stopped; finished stages are not run again."""
    from flows.run import resume_flow
    from flows.views import show_outcome

    show_outcome(resume_flow(name, console), console)


@app.command()
def status(name: RunName = "latest", as_json: AsJson = False) -> None:
    """Show how a run and each of its stages are."""
    from flows.views import show_status

    show_status(name, console, as_json=as_json)


@app.command("ls")
def list_things(
    what: Annotated[str, typer.Argument(help="runs, artifacts, flows or configs.")] = "runs",
    as_json: AsJson = False,
) -> None:
    """List runs, artifacts, flows or configs."""
    from flows.views import show_list

    show_list(what, console, as_json=as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Key or digest of an artifact, or a run.")],
    as_json: AsJson = False,
) -> None:
    """Show what an artifact is and what it was made from, or a run's configuration."""
    from flows.views import show_artifact_or_run

    show_artifact_or_run(name, console, as_json=as_json)


@app.command()
def report(name: RunName = "latest", as_json: AsJson = False) -> None:
    """Show a run's report and where its files are."""
    from flows.views import show_report

    show_report(name, console, as_json=as_json)


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
    as_json: AsJson = False,
) -> None:
    """Check this machine and the store, or look a data set over before training on it."""
    from flows.checkup import show_data_report, show_machine_report

    if not data:
        show_machine_report(console, as_json=as_json)
        return
    limits = (max_prompt_tokens, max_response_tokens)
    show_data_report(data, tokenizer, template, limits, console, as_json=as_json)


def main() -> None:
    """Run the command line."""
    app()


def _say(text: str) -> None:
    errors.print(f"sparring: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
