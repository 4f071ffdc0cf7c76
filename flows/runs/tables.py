"""Tables for the terminal: as wide as it is, and no word broken that fits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

Cells = Sequence[Text]


class Fitted(NamedTuple):
    """A table that shares out its width when it is drawn; rich alone breaks words to make room."""

    drawn: Table
    """The table, whose columns get their widths."""
    cells: Sequence[Cells]
    """The cells of each column, its heading first."""
    whole: frozenset[int]
    """Columns that never give way."""
    edges: int
    """What the lines and gaps take of the width."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the table for the width that there is."""
        wanted = [_longest(column, "\n") for column in self.cells]
        words = [_longest(column, None) for column in self.cells]
        least = [
            wanted[number] if number in self.whole else word for number, word in enumerate(words)
        ]
        widths = shared_width(wanted, least, options.max_width - self.edges)
        for column, width in zip(self.drawn.columns, widths, strict=True):
            column.width = width
        yield self.drawn


def shared_width(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int | None]:
    """Share a width among columns: each has the least that it needs, who wants little has it all.

    Args:
        wanted: Width of each column when nothing is folded.
        least: Width below which a word would break.
        room: Width of all together.

    Returns:
        A width per column; None for all where not even the least fits, so that rich decides.

    Example:
        >>> shared_width([10, 30, 50], [10, 5, 20], 70)
        [10, 30, 30]
    """
    spare = room - sum(least)
    if spare < 0:
        return [None] * len(wanted)
    widths = list(least)
    order = sorted(range(len(wanted)), key=lambda number: wanted[number] - least[number])
    for place, number in enumerate(order):
        more = min(wanted[number] - least[number], spare // (len(order) - place))
        widths[number] += more
        spare -= more
    return [*widths]


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Fitted:
    """Return a table with lines around its cells; they are shown as they are, without markup."""
    drawn = Table(header_style="bold")
    return _filled(drawn, headings, rows, frozenset(), 3 * len(headings) + 1)


def columns(rows: Sequence[Mapping[str, object]], *, folded: Collection[str]) -> Fitted:
    """Return a table of few strokes, each row by heading; headings with nothing below are left out.

    Args:
        rows: At least one; all have the same headings. Cells are shown as they are.
        folded: Headings of the columns that give way where the terminal is narrow.
    """
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    shown = [name for name in rows[0] if any(str(row[name]) for row in rows)]
    whole = frozenset(number for number, name in enumerate(shown) if name not in folded)
    cells = [[row[name] for name in shown] for row in rows]
    return _filled(drawn, shown, cells, whole, 3 * (len(shown) - 1))


def minute(time: str) -> str:
    """Return an ISO time, UTC, to the minute, as people read it.

    Example:
        >>> minute("2026-11-30T06:51:58.938+00:00")
        '2026-11-30 06:51'
    """
    return time[:16].replace("T", " ")


def _longest(column: Cells, separator: str | None) -> int:
    """Return the width of the longest line, or of the longest word where none separates them."""
    parts = (part for cell in column for part in cell.plain.split(separator))
    return max(map(cell_len, parts), default=0)


def _filled(
    drawn: Table,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    whole: frozenset[int],
    edges: int,
) -> Fitted:
    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    for number, heading in enumerate(headings):
        drawn.add_column(Text(heading), no_wrap=number in whole, overflow="fold")
    for row in texts:
        drawn.add_row(*row)
    heads = [Text(heading) for heading in headings]
    cells = [[head, *(row[number] for row in texts)] for number, head in enumerate(heads)]
    return Fitted(drawn, cells, whole, edges)
