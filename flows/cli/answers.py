"""How a command answers: people read the console, programs one JSON document on stdout.

With `--json` the console is stderr, so that nothing but the document stands on stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from flows.runs.console import json_text, open_console

PIPE_WIDTH = 1000
"""Where there is no terminal nothing is folded or cut: a line of a table is a line."""

console = open_console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
errors = open_console(stderr=True)


def answer_in_json(asked: bool) -> bool:
    """Make room on stdout for the document of a command that was `asked` for JSON."""
    console.stderr = asked
    return asked


def print_json(values: Any) -> None:
    """Print a command's document; dataclasses, also as items, become plain values."""
    print(json_text(values))


def columns(rows: Sequence[Mapping[str, object]], *, folded: Collection[str]) -> Table:
    """Return a table of few strokes, each row by heading; headings with nothing below are left out.

    Args:
        rows: At least one; all have the same headings. Cells are shown as they are.
        folded: Headings of the columns that give way where the terminal is narrow.
    """
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    shown = [name for name in rows[0] if any(str(row[name]) for row in rows)]
    for name in shown:
        drawn.add_column(name, no_wrap=name not in folded, overflow="fold")
    for row in rows:
        cells = (row[name] for name in shown)
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))
    return drawn
