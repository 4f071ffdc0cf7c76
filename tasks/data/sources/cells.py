"""Rows of CSV and TSV files, whose first line names the columns and whose cells have no types."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.data.sources.forms.form import Cell
from tasks.data.sources.row import Caps, Row
from tasks.settings.errors import RecordError

_DELIMITERS = (",", "\t", ";")


def cell_rows(blocks: Iterable[bytes], path: Path, caps: Caps) -> Iterator[Row]:
    """Yield the rows of a table of cells; an empty cell is an absent value.

    Raises:
        RecordError: The text is not UTF-8, two columns have one name, or a cell is too long.
    """
    # A quotation mark that nobody closes would make one cell of all that follows.
    csv.field_size_limit(max(csv.field_size_limit(), caps.record_bytes))
    lines = _decoded_lines(blocks, path)
    head = next(lines, "")
    delimiter = "\t" if ".tsv" in path.name.lower() else max(_DELIMITERS, key=head.count)
    reader = csv.reader(_again(head, lines), delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise RecordError(f"{path} has two columns named {twice[0]!r:.80}")
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            if len(cells) == len(names):
                yield Row(number, {n: Cell(c) for n, c in zip(names, cells, strict=True) if c})
            else:
                problem = f"{len(cells)} cells, where the first line names {len(names)} columns"
                yield Row(number, None, problem)
    except csv.Error as error:
        raise RecordError(
            f"{path} is a damaged CSV file at line {reader.line_num}: {error}"
        ) from error


def _again(head: str, lines: Iterator[str]) -> Iterator[str]:
    if head:
        yield head
    yield from lines


def _decoded_lines(blocks: Iterable[bytes], path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    pending = ""
    try:
        for block in blocks:
            *ended, pending = (pending + decoder.decode(block)).split("\n")
            for line in ended:
                yield line + "\n"
        pending += decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    if pending:
        yield pending
