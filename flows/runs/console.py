"""The terminal as we write to it: whatever is printed, only our own codes steer it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tasks.settings.printable import STEERING, printable


def open_console(**options: Any) -> Console:
    """Return a console that shows what steers a terminal instead of passing it on.

    Names of files and columns, labels and records are printed in many places; this way none of
    them has to think of it.

    Args:
        options: As those of rich's `Console`.
    """
    console = Console(**options)
    console.push_render_hook(_Shown())
    return console


def print_json(values: Any) -> None:
    """Print a command's document on stdout: plain values or dataclasses; nothing in it steers."""
    text = json.dumps(values, indent=2, ensure_ascii=False, default=_plain)
    lines = [
        STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n")
    ]
    print("\n".join(lines))


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


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


class _Shown(RenderHook):
    """Escapes what is printed, after it was laid out and before colours are added."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [one if isinstance(one, Control) else _Escaped(one) for one in renderables]


class _Escaped:
    """Another renderable with its text escaped."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text, keep="\n\t")
            yield Segment(text, segment.style, segment.control)
