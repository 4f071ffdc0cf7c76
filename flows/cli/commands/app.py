"""The typer application that every verb registers with, its exit codes and shared options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.cli.commands.completion import config_names, flow_names, run_names, thing_names
from flows.runs.console import open_console
from tasks.processes.termination import heeding_stops
from tasks.settings.errors import ConfigError, SparringError
from tasks.storage.errors import StorageError

_PIPE_WIDTH = 1000
"""Where there is no terminal nothing is folded: a line of a table is a line."""

console = open_console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
errors = open_console(stderr=True)

VERBS = (
    "init gold people rehearse run plan resume status ls show report cost lineage why compare judge"
    " deploy trend promote demote"
    " export export-champion import-champion up down push pull pin unpin gc doctor"
).split()
"""The order of the help page: work, look, operate."""


class ExitCodes(TyperGroup):
    """Ends a command with one sentence on stderr and the exit code that says how it ended."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of `VERBS`."""
        known = {verb: place for place, verb in enumerate(VERBS)}
        return sorted(super().list_commands(ctx), key=lambda verb: known.get(verb, len(known)))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            with heeding_stops():
                return super().invoke(ctx)
        except (SparringError, StorageError) as error:
            say_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as stop:
            # What was stopped on purpose is no error; the note says how to go on, if one can.
            say_error("; ".join(["stopped", *getattr(stop, "__notes__", ())]), style="yellow")
            raise typer.Exit(130) from None
        except UnicodeDecodeError as error:
            say_error(f"a text that was read is not UTF-8 ({error}); a file of ours is damaged")
            raise typer.Exit(1) from None
        except BrokenPipeError:
            # Whoever read has read enough, as `head` does; nobody is there to be told.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            name = f": {error.filename}" if error.filename else ""
            say_error(f"{error.strerror or error}{name}")
            raise typer.Exit(1) from None


def answer_in_json(asked: bool) -> bool:
    """Let the console be stderr for a command that was `asked` for JSON, which has stdout alone."""
    console.stderr = asked
    return asked


app = typer.Typer(
    name="sparring",
    cls=ExitCodes,
    help="LLM preference alignment as recurring, resumable, traceable workflows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
FlowName = Annotated[
    str, typer.Argument(help="Name of the flow, for example apo.", autocompletion=flow_names)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file, or a name from `sparring ls configs`.",
        autocompletion=config_names,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-S", help="Replace one value: a.b=c. May be given more than once."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--fields", help="Read a column of another name: chosen=good. May be given more than once."
    ),
]
MaxBadShare = Annotated[
    float,
    typer.Option(min=0, max=1, help="Largest share of unreadable records that a run lets pass."),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document, and nothing else on stdout.",
        callback=answer_in_json,
    ),
]
"""What every command has; it gives its document to `print_json`."""
RunName = Annotated[
    str,
    typer.Argument(
        help="A run: its id, the beginning of one, `latest`, or `champion`.",
        autocompletion=run_names,
    ),
]
Thing = Annotated[
    str,
    typer.Argument(
        help="A run, or an artifact: its key or digest, the beginning of one, `latest/DPO-v1` (any "
        "run and what it made), `champion` or FLOW/champion.",
        autocompletion=thing_names,
    ),
]


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"sparring {version('sparring')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None: ...


def say_error(text: str, style: str = "red") -> None:
    """Print one sentence to stderr, as it is."""
    errors.print(f"sparring: {text}", style=style, markup=False, highlight=False, soft_wrap=True)


def named_fields(given: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Return what `--fields` says: our name of each column and theirs.

    Raises:
        ConfigError: One is not of the form `chosen=good`.
    """
    named = [(ours, theirs) for ours, _, theirs in (one.partition("=") for one in given or ())]
    for one, (ours, theirs) in zip(given or (), named, strict=True):
        if not (ours and theirs):
            raise ConfigError(f"--fields {one!r}: expected OURS=THEIRS, such as chosen=good")
    return tuple(named)
