"""The reference of the commands: their arguments, options and help, as typer has them."""

from __future__ import annotations

import re
from typing import Any

from typer.main import get_command

from docs.escaping import escaped
from flows.cli.main import app


def commands_page() -> str:
    """Return the page of every command with its arguments and options."""
    group: Any = get_command(app)
    parts = [
        "# Commands\n\nMade from the code when this site was built. `sparring COMMAND --help` "
        "shows the same in a terminal. Exit codes are the same for all: "
        "[below](#exit-codes).\n"
    ]
    context = group.context_class(group, info_name="sparring")
    for name in group.list_commands(context):
        parts.append(_command(name, group.commands[name], context))
    return "".join(parts) + _EXIT_CODES


_EXIT_CODES = """
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed after it had started: a full disk, too many unreadable records, a stage |
| 2 | usage or configuration: a missing file, an unknown name, a model that cannot be loaded, overlapping splits |
| 3 | a gate refused, or things drifted from the plan |
| 4 | the budget is exhausted; resume with more |
| 130 | interrupted; the state is saved |
"""  # noqa: E501


def _command(name: str, command: Any, above: Any) -> str:
    """Return one command: its usage, what it does, its arguments and options."""
    context = command.context_class(command, info_name=name, parent=above)
    shown = [one for one in command.params if not one.hidden]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    names = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments]
    records = [one.get_help_record(context) for one in shown]
    rows = [f"\n`{_kind(words)}`\n:   {escaped(text)}\n" for words, text in filter(None, records)]
    about = escaped(" ".join((command.help or "").split()))
    usage = " ".join(["sparring", name, *names, "[OPTIONS]"])
    return f"\n## {name}\n\n`{usage}`\n\n{about}\n" + "".join(rows)


def _kind(words: str) -> str:
    """Return the names of an option as typer has them, with the kind of its value in one word."""
    kinds = {"str": "TEXT", "path": "PATH", "int": "NUMBER", "float": "NUMBER"}
    name, kind, _ = re.split(r" ?<(?:list\[)?(\w+)[^>]*>", f"{words}<none>", maxsplit=1)
    return f"{name} {kinds.get(kind, '')}".strip() if name.startswith("-") else name.upper()
