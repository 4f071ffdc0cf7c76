"""What `sparring init` has to know, from its flags and, on a terminal, from the user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.prompt import Prompt

from flows.registry import FLOWS, find_flow
from tasks.data.sources.rows import DATA_SUFFIXES
from tasks.data.sources.tally import MAX_BAD_SHARE
from tasks.settings.errors import ConfigError

SMALL = "small"
"""Stands for a small model that the run makes from nothing."""
CHOSEN = "chosen"
"""Stands for gold that is the pairs' own chosen answers."""


class Answers(NamedTuple):
    """What the user wants to run, on what."""

    flow: str
    """Name of the flow."""
    data: tuple[Path, ...]
    """Files or folders of preference pairs."""
    test: Path | None
    """Pairs to measure on; None cuts a share off `data`."""
    model: str
    """Folder or hub name of the model, or `SMALL`."""
    gold: str
    """File of gold answers, or `CHOSEN`; without meaning for a flow without gold."""
    template: str | None
    """Chat template by name; None is the model's own, where it has one."""
    fields: tuple[tuple[str, str], ...] = ()
    """Our name of each column that the files call otherwise, and theirs."""
    max_bad_share: float = MAX_BAD_SHARE
    """Largest share of unreadable records that the run lets pass."""


def ask(
    console: Console,
    *,
    flow: str | None,
    data: tuple[Path, ...],
    test: Path | None,
    model: str | None,
    gold: str | None,
    template: str | None,
) -> Answers:
    """Return what the flags say, and ask a person at a terminal for the rest.

    Raises:
        ConfigError: No data is named, and there is nobody to ask; or there is no such flow.
    """
    if flow is not None and not find_flow(flow).for_pairs:
        raise ConfigError(f"the flow {flow} has no configuration for pairs of your own")
    if not (data or _is_somebody_there()):
        raise ConfigError(
            "name your preference pairs: `sparring init apo --data FILE`; in a terminal, "
            "`sparring init` asks for everything"
        )
    if data:  # Whoever gives flags is not asked; what they leave out has a default that is said.
        return Answers(flow or "apo", data, test, model or SMALL, gold or CHOSEN, template)
    if flow is None:
        for entry in FLOWS.values():
            console.print(f"  {entry.name}: {entry.summary}", highlight=False)
        flow = Prompt.ask("Which of them", choices=list(FLOWS), default="apo", console=console)
    found = _data_file_here()
    data = (Path(Prompt.ask("File of preference pairs", default=found, console=console)),)
    about = f"Model: a folder, a hub name, or {SMALL}, which is made here from nothing"
    model = model or Prompt.ask(about, default=SMALL, console=console)
    if takes_gold(flow):
        about = f"Gold answers: a file, or {CHOSEN}, the pairs' own chosen answers"
        gold = gold or Prompt.ask(about, default=CHOSEN, console=console)
    return Answers(flow, data, test, model or SMALL, gold or CHOSEN, template)


def takes_gold(flow: str) -> bool:
    """Return whether a flow's configuration says where gold answers come from."""
    return "gold" in find_flow(flow).config_class().model_fields


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _data_file_here() -> str:
    """Return the likeliest data file of the current folder, to be accepted by pressing return."""
    here = sorted(path.name for path in Path().iterdir() if path.name.endswith(DATA_SUFFIXES))
    return next((name for name in here if "pair" in name or "pref" in name), (here or [""])[0])
