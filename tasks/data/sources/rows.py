"""Raw rows out of files that nobody vouches for: JSON in several layouts, CSV, parquet, Arrow.

Everything streams and everything is capped: the length of a record, its nesting, the number of
values in it, and how much a gzip file may expand. A record that breaks a rule is reported and
skipped; only a file that cannot be read any further is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.data.sources.blocks import text_blocks
from tasks.data.sources.cells import cell_rows
from tasks.data.sources.columns import arrow_rows, parquet_rows
from tasks.data.sources.lines import json_rows
from tasks.data.sources.row import Caps, Row
from tasks.settings.errors import RecordError

_TEXTS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv")
DATA_SUFFIXES = (*_TEXTS, *(f"{name}.gz" for name in _TEXTS), ".parquet", ".arrow", ".feather")
"""How the names of the files that are read end; what a file is, its content decides."""
_CELLS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"BZh": "a bzip2 archive; unpack it",
    b"\xfd7zXZ": "an xz archive; unpack it",
    b"\x28\xb5\x2f\xfd": "a zstandard archive; unpack it",
    b"SQLite format 3": "an SQLite data base; save the table as JSON lines",
    b"FEA1": "a feather file of version 1; save it as parquet",
    b"%PDF": "a PDF document",
    b"\x80\x04": "a Python pickle, which could run code; save it as JSON lines",
    b"\x80\x05": "a Python pickle, which could run code; save it as JSON lines",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`",
}


def read_rows(path: Path, caps: Caps | None = None) -> Iterator[Row]:
    """Yield the rows of one file, in order.

    Args:
        path: A JSON, CSV or TSV file or a gzip file of one, a parquet or an Arrow file. The content
            decides, but for CSV and TSV, which only their name tells.
        caps: What the file may ask of the reader; None for the defaults.

    Yields:
        Every row, also the unreadable ones, except blank lines.

    Raises:
        RecordError: The rest of the file cannot be read (damaged gzip or table, an expansion or an
            array element over the caps), or it is something else altogether.
    """
    caps = caps or Caps()
    with open(path, "rb") as file:
        magic = file.read(64)
    for start, what in _OTHERS.items():
        if start in (magic[: len(start)], magic.lstrip().lower()[: len(start)]):
            raise RecordError(f"{path} is {what}")
    if magic.startswith(b"PAR1"):
        yield from parquet_rows(path)
    elif magic.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        yield from arrow_rows(path, stream=magic.startswith(b"\xff"))
    else:
        blocks = text_blocks(path, magic.startswith(b"\x1f\x8b"), caps)
        if path.name.lower().endswith(_CELLS):
            yield from cell_rows(blocks, path, caps)
        else:
            yield from json_rows(blocks, path, caps)
