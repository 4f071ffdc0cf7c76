"""Files that people fill in: CSV as spreadsheets write it, and JSONL.

A cell that a spreadsheet would run as a formula is written behind an apostrophe, which is taken
away again on reading. A file that cannot be read is refused whole, in one sentence.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.settings.errors import RecordError
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_atomic, write_lines

SUFFIXES = (".csv", ".tsv", ".jsonl")
"""What a file of answers may be called."""
LARGEST = 64 << 20
"""Bytes of a file; a larger one is nobody's own work."""
_RUN = re.compile(r"'*[=+\-@\t\r]")
_DELIMITERS = (",", ";", "\t")
_LINE_END = re.compile(r"[\r\n]")


class SheetRow(NamedTuple):
    """One row of a file."""

    line: int
    """Where it begins, from 1."""
    fields: Mapping[str, Any] | None
    """Its values by column; None where it is no record."""
    problem: str = ""
    """Why it is none."""


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet runs.

    Example:
        >>> safe_cell("=1+1"), safe_cell("1+1"), plain_cell(safe_cell("'=1"))
        ("'=1+1", '1+1', "'=1")
    """
    return f"'{text}" if _RUN.match(text) else text


def plain_cell(text: str) -> str:
    """Return the text that `safe_cell` was given."""
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of the same columns so that a spreadsheet reads them as UTF-8 and runs nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(rows[0] if rows else ())
    writer.writerows([safe_cell(value) for value in row.values()] for row in rows)
    write_atomic(path, "\ufeff" + out.getvalue())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write each row as a line."""
    write_lines(path, (canonical_json(dict(row)).decode() for row in rows))


def read_sheet(path: Path) -> Iterator[SheetRow]:
    """Read the rows of a CSV, TSV or JSONL file.

    Raises:
        RecordError: It is too large, not UTF-8, or no table.
        OSError: It cannot be read at all.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise RecordError(f"{path} has {size:,} bytes, and {LARGEST:,} are the most")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecordError(f"{path} is UTF-16: save it as 'CSV UTF-8', or as JSONL in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecordError(
            f"{path} is not UTF-8 (line {line}): save it as 'CSV UTF-8', or as JSONL in UTF-8"
        ) from None
    return _json_rows(text) if path.suffix.lower() == ".jsonl" else _cell_rows(text, path)


def _json_rows(text: str) -> Iterator[SheetRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            yield SheetRow(number, None, "no JSON")
            continue
        is_record = isinstance(fields, dict)
        yield SheetRow(number, fields if is_record else None, "" if is_record else "no JSON object")


def _cell_rows(text: str, path: Path) -> Iterator[SheetRow]:
    if "\0" in text:
        raise RecordError(f"{path} is no CSV: it holds a zero byte")
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST))
    head = _LINE_END.split(text, maxsplit=1)[0]
    # A spreadsheet of a country that writes 1,5 parts its cells by semicolons.
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if twice := {name for name in names if name and names.count(name) > 1}:
            raise RecordError(f"{path} has two columns named {min(twice)!r}")
        begin = reader.line_num + 1
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not any(cells):
                continue
            if any(cells[len(names) :]):
                problem = f"{len(cells)} cells, where the first line names {len(names)} columns"
                yield SheetRow(line, None, problem)
                continue
            yield SheetRow(line, dict(zip(names, map(plain_cell, cells), strict=False)))
    except csv.Error as error:
        raise RecordError(f"{path} is a damaged CSV at line {reader.line_num}: {error}") from None
