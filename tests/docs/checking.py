"""Whether a command or a configuration of a page would be accepted, without running anything."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from typer.main import get_command

from flows.cli.main import app
from flows.registry import FLOWS, find_flow, read_config
from tasks.settings.loading import validate
from tests.docs.pages import ROOT

SYSTEM = set("aws cd cp curl docker eval export git kubectl mkdir mlflow openssl".split())
SYSTEM |= {"pg_dump", "pre-commit", "source"}
"""Programs that are not this project's: only the files that they name are looked at."""
BASES = {"apo": "apo-tiny", "exo": "exo-tiny", "ava": "ava-tiny"}
"""The ready configuration that a fragment of YAML is laid over, by flow."""


class WrongOnPageError(AssertionError):
    """A page says something that would not work."""


def check_command(text: str, folder: Path) -> None:
    """Check one command of a page.

    Args:
        text: As it stands, without its comment.
        folder: Where the files are that it names.

    Raises:
        WrongOnPageError: There is no such command, option, target, file or key.
    """
    words, *further = _simple_commands(text)
    for one in further:
        check_command(shlex.join(one), folder)
    given = list(takewhile(re.compile(r"^\w+=").match, words))
    if words := words[len(given) :]:
        with patch.dict(os.environ, dict(one.split("=", 1) for one in given)):
            _check_program(words, folder)


def _check_program(words: Sequence[str], folder: Path) -> None:
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "sparring":
        _check_sparring(rest, folder)
    elif program == "prefect":
        _check_prefect(rest)
    elif program == "make":
        _check_make(rest)
    elif program == "python":
        _check_python(rest)
    elif program not in SYSTEM:
        raise WrongOnPageError(f"no test knows the program {program!r}")
    for word in rest:
        if re.match(r"^(flows|infra|tests|docs|benchmarks)/[\w./-]+\.\w+$", word):
            _require((ROOT / word).exists() or word == "infra/.env", f"{word} does not exist")


def _simple_commands(text: str) -> list[list[str]]:
    """Return the words of each command of a line, which `&&`, `;` and `|` hold together."""
    found: list[list[str]] = [[]]
    for word in shlex.split(text):
        if word in ("&&", "||", ";", "|"):
            found.append([])
        else:
            found[-1].append(word)
    return found


def _check_sparring(words: Sequence[str], folder: Path) -> None:
    group: Any = get_command(app)
    _require(bool(words) and words[0] in group.commands, f"sparring has no command {words[:1]}")
    command, rest = group.commands[words[0]], list(words[1:])
    try:
        context = command.make_context(words[0], list(rest))
    except Exception as error:  # typer's own, whose class it does not export
        raise WrongOnPageError(f"sparring {shlex.join(words)}: {error}") from error
    given = context.params
    if given.get("config") and given.get("flow"):
        named = Path(given["config"])
        where = next((one for one in (folder / named, ROOT / named) if one.is_file()), named)
        read_config(find_flow(given["flow"]), where, given["overrides"] or [])


def _check_prefect(words: Sequence[str]) -> None:
    from cyclopts import CycloptsError
    from prefect.cli._app import _app  # the public `app` parses its words only to run them

    try:
        _app.parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise WrongOnPageError(f"prefect {shlex.join(words)}: {error}") from error


def _check_make(words: Sequence[str]) -> None:
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    _require(done.returncode == 0, done.stderr)


def _check_python(words: Sequence[str]) -> None:
    """A module of ours, or pytest, must be there."""
    _require(words[0] == "-m" or (ROOT / words[0]).is_file(), f"python {shlex.join(words)}")
    if words[0] == "-m" and words[1] != "pytest":
        place = ROOT / words[1].replace(".", "/")
        _require(place.is_dir() or place.with_suffix(".py").is_file(), f"no module {words[1]}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise WrongOnPageError(what)


def check_yaml(text: str) -> None:
    """Check a configuration, or a fragment of one, by the models of the flows.

    Args:
        text: A whole file or some of its keys, which are laid over a ready configuration.

    Raises:
        WrongOnPageError: No flow accepts it; each says why.
    """
    tree, refusals = yaml.safe_load(text), []
    for name, base in BASES.items():
        whole = yaml.safe_load((ROOT / f"flows/configs/{base}.yaml").read_text("utf-8"))
        for laid in (tree, laid_over(whole, tree)):
            try:
                validate(FLOWS[name].config_class(), laid, name)
                return
            except Exception as error:
                refusals.append(str(error))
    raise WrongOnPageError("\n".join(refusals[1::2]))


def laid_over(base: Any, tree: Any) -> Any:
    """Return a tree of plain values with another laid over it, key by key."""
    if not isinstance(base, dict) or not isinstance(tree, dict):
        return tree
    return {**base, **{key: laid_over(base.get(key), value) for key, value in tree.items()}}


def syntax_error(script: str) -> str:
    """Return what bash says of a script that it cannot read, else nothing."""
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-n"], input=script, capture_output=True, text=True).stderr
