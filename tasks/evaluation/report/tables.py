"""Tables as data: a header, rows of cells, and how a cell is shown.

A cell is a string, a number or None. Numbers keep their full value in CSV and JSON; markdown and
the terminal show them rounded by their column's format.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

Cell = str | int | float | None
_NOTHING = frozenset({None, "", "–", "-", "no judge", "not judged", "not measured"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column and how its numbers are shown."""

    name: str
    format: str = ""
    """A format specification for numbers, such as `.2f` or `,`; text ignores it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table with a note under it."""

    key: str
    """Stem of its CSV file and its name in report.json."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.title}: expected {len(self.columns)} cells, got {len(row)}: {row}"
                )


def without_empty_columns(table: Table) -> Table:
    """Return a table without the columns in which no row has anything; the first one stays.

    Example:
        >>> table = Table("t", "T", (Column("a"), Column("b")), (("x", None), ("y", "–")))
        >>> [column.name for column in without_empty_columns(table).columns]
        ['a']
    """
    kept = [
        number
        for number in range(len(table.columns))
        if not (number and table.rows) or any(row[number] not in _NOTHING for row in table.rows)
    ]
    columns = tuple(table.columns[number] for number in kept)
    rows = tuple(tuple(row[number] for number in kept) for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def shown(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows as text; a missing cell is a dash."""
    header = [column.name for column in table.columns]
    rows = [
        [_text(cell, column.format) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    return header, rows


def to_markdown(table: Table) -> str:
    """Return the table in GitHub's markdown, its title in front and its note behind.

    Cells are escaped: a name that holds HTML or a bar stays text.
    """
    header, rows = shown(table)
    numeric = [
        any(isinstance(row[i], int | float) for row in table.rows) for i in range(len(header))
    ]
    lines = [
        f"**{escape_markdown(table.title)}**",
        "",
        _bar([escape_markdown(name) for name in header]),
        _bar(["---:" if right else "---" for right in numeric]),
        *(_bar([escape_markdown(cell) for cell in row]) for row in rows),
    ]
    if table.note:
        lines += ["", escape_markdown(table.note)]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Return the table as CSV with unrounded numbers; a missing cell is empty."""
    return csv_text([column.name for column in table.columns], table.rows)


def to_json(table: Table) -> dict[str, object]:
    """Return title, note, column names and rows of raw cells as plain values."""
    return {
        "title": table.title,
        "note": table.note,
        "columns": [column.name for column in table.columns],
        "rows": [list(row) for row in table.rows],
    }


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return comma-separated text with a header line; None is written as nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def escape_markdown(text: str) -> str:
    """Make any text, model output too, one line of markdown: no HTML, no links, no cell borders."""
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word is never emphasis, and names such as RM_Base stay readable.
    return re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _text(cell: Cell, spec: str) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else format(cell, spec)


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
