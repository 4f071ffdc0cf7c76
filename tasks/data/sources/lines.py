"""Raw rows out of files that nobody vouches for: jsonl, json arrays, gzip of both, parquet.

Everything streams and everything is capped: the length of a record, its nesting, the number of
values in it, and how much a gzip file may expand. A record that breaks a rule is reported and
skipped; only a file that cannot be read any further is an error.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tasks.settings.errors import RecordError

DATA_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
_BLOCK = 1 << 20
# Expansion is judged only beyond this size: small repetitive files compress arbitrarily well.
_RATIO_FROM_BYTES = 256 << 20
# A 64 MB line of "[],[],…" would become gigabytes of Python objects; text never has so many.
_MAX_VALUES = 2_000_000
_TOKEN = re.compile(rb'"(?:[^"\\]+|\\.)*+"|["{}\[\],]', re.DOTALL)


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


def read_rows(path: Path, caps: Caps | None = None) -> Iterator[Row]:
    """Yield the rows of one file, in order.

    Args:
        path: A jsonl, json, parquet file or a gzip file of the first two; the content decides, not
            the name.
        caps: What the file may ask of the reader; None for the defaults.

    Yields:
        Every row, also the unreadable ones, except blank lines.

    Raises:
        RecordError: The rest of the file cannot be read (damaged gzip or table, an expansion or an
            array element over the caps).
    """
    caps = caps or Caps()
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        yield from _parquet_rows(path)
        return
    blocks = _text_blocks(path, magic[:2] == b"\x1f\x8b", caps)
    first = next(blocks, b"").removeprefix(b"\xef\xbb\xbf")
    chained = chain([first], blocks)
    if first.lstrip()[:1] == b"[":
        numbered: Iterable[tuple[int, bytes | None]] = _elements(chained, path, caps.record_bytes)
    else:
        numbered = _lines(chained, caps.record_bytes)
    for number, data in numbered:
        if data is None:
            yield Row(number, None, f"longer than {caps.record_bytes:,} bytes")
        elif not data.isspace() and data:
            yield _decoded(number, data)


def decode_record(data: bytes) -> dict[str, Any]:
    """Parse the UTF-8 text of one JSON object strictly.

    Raises:
        RecordError: It is not UTF-8, not JSON, not an object, too deep, too large, has a key twice,
            or holds NaN or infinity.
    """
    if len(data) > _MAX_VALUES:
        _require_few_values(data)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise RecordError("nested too deep") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:
        # Covers our own RecordError from the hooks and integers of more digits than Python reads.
        raise RecordError(str(error)) from error
    if not isinstance(value, dict):
        raise RecordError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _decoded(number: int, data: bytes) -> Row:
    try:
        return Row(number, decode_record(data))
    except RecordError as error:
        return Row(number, None, str(error))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f"the key {twice[:80]!r} appears twice")
    return tree


def _no_constant(name: str) -> None:
    raise RecordError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant)


def _require_few_values(data: bytes) -> None:
    if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise RecordError(f"more than {_MAX_VALUES:,} values in one record")


def _text_blocks(path: Path, zipped: bool, caps: Caps) -> Iterator[bytes]:
    total = 0
    with open(path, "rb") as raw:
        reader = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            while block := reader.read(_BLOCK):
                total += len(block)
                if zipped and total > _RATIO_FROM_BYTES and total > caps.gzip_ratio * raw.tell():
                    raise RecordError(
                        f"{path} expands more than {caps.gzip_ratio} times; decompress it yourself "
                        "if you trust it"
                    )
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RecordError(f"{path} is a damaged gzip file ({error}); fetch it again") from error


def _lines(blocks: Iterator[bytes], cap: int) -> Iterator[tuple[int, bytes | None]]:
    """Split into numbered lines, never holding more than `cap` bytes of one; None if longer."""
    pending: list[bytes] = []
    size, number = 0, 0
    for block in blocks:
        *ended, rest = block.split(b"\n")
        for piece in ended:
            number += 1
            line = b"".join([*pending, piece]) if pending else piece
            yield number, (line if size + len(piece) <= cap else None)
            pending, size = [], 0
        size += len(rest)
        # Of a line over the cap only its length is remembered.
        pending = [*pending, rest] if size <= cap else []
    if size:
        yield number + 1, (b"".join(pending) if size <= cap else None)


def _elements(blocks: Iterator[bytes], path: Path, cap: int) -> Iterator[tuple[int, bytes]]:
    """Split the text of a JSON array into those of its elements, by brackets outside strings."""
    buffer, number, want, opened = b"", 0, 1, False
    for block in blocks:
        buffer += block
        if len(buffer) < want:
            continue
        start = 0
        for begin, end in _spans(buffer, opened):
            number += 1
            yield number, buffer[begin:end]
            if buffer[end] == ord("]"):
                return
            start, opened = end + 1, True
        buffer = buffer[start:]
        if len(buffer) > cap:
            raise RecordError(f"{path}: record {number + 1} is longer than {cap:,} bytes")
        # An element that does not fit is scanned again only after the buffer has doubled.
        want = 2 * len(buffer)
    for begin, end in _spans(buffer, opened):
        number += 1
        yield number, buffer[begin:end]
        if buffer[end] == ord("]"):
            return
    raise RecordError(f"{path} breaks off inside its array, after record {number}; fetch it again")


def _spans(buffer: bytes, opened: bool) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of complete elements; `opened`: the array's own bracket has gone by."""
    depth, begin = (1, 0) if opened else (0, 0)
    for token in _TOKEN.finditer(buffer):
        mark = token[0]
        if mark == b'"':
            return
        if mark in (b"[", b"{"):
            depth += 1
            if depth == 1:
                begin = token.end()
        elif mark in (b"]", b"}"):
            depth -= 1
        if (mark == b"," and depth == 1) or (mark == b"]" and depth == 0):
            yield begin, token.start()
            begin = token.end()
        if depth == 0:
            return


def _parquet_rows(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=256):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(number, value)
    except (ArrowException, OSError) as error:
        problem = f"{path} is a damaged parquet file after row {number}: {error}"
        raise RecordError(problem) from error
