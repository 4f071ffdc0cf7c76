"""A raw row of a file, and what a file may ask of its reader."""

from __future__ import annotations

from typing import Any, NamedTuple


class Caps(NamedTuple):
    """What a file may ask of the reader."""

    record_bytes: int = 64 << 20
    """Longest record, decompressed."""
    gzip_ratio: int = 200
    """Largest expansion of a gzip file, judged from 256 MB of output on."""


class Row(NamedTuple):
    """One record of a file, or why it cannot be read."""

    number: int
    """Line in a jsonl file, record in an array or a table; from 1."""
    value: dict[str, Any] | None
    """The columns; None if the record cannot be read."""
    problem: str = ""
    """Why not."""
