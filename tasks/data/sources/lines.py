"""Rows of JSON: a record per line, an array, one object after another, a wrapper, columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tasks.data.sources.brackets import cut_array, cut_lines, cut_objects, is_whole
from tasks.data.sources.dialogue import told
from tasks.data.sources.row import Caps, Row
from tasks.settings.errors import RecordError

# A 64 MB line of "[],[],…" would become gigabytes of Python objects; text never has so many.
_MAX_VALUES = 2_000_000
_PEEK = 1 << 16
_STRING = rb'"(?:[^"\\]|\\.)*+"'
_FACT = _STRING + rb"\s*:\s*(?:" + _STRING + rb'|[^\s,\[\]{}"]+)\s*'
_WRAPPER = re.compile(
    rb"\s*\{\s*(?:" + _FACT + rb",\s*)*"
    rb'"(data|rows|train|test|validation|examples|instances|items|records|samples)"\s*:\s*'
    rb"(?=\[\s*\{)"
)
_AFTER_WRAPPED = re.compile(rb"\s*(?:,\s*" + _FACT + rb")*\}\s*")
_PROMPTS = ("prompt", "question", "instruction", "query", "input", "user_input")


def json_rows(blocks: Iterator[bytes], path: Path, caps: Caps) -> Iterator[Row]:
    """Yield the rows of a text of JSON, whatever its layout is; blank lines are none.

    Raises:
        RecordError: The text breaks off, goes on behind its end, or is no JSON from the start.
    """
    head, blocks = _peek(blocks)
    wrapper = _WRAPPER.match(head)
    if wrapper or head.lstrip()[:1] == b"[":
        start = wrapper.end() if wrapper else 0
        chained = chain([head[start:]], blocks)
        yield from _array_rows(chained, path, caps, wrapped=wrapper is not None)
        return
    chained = chain([head], blocks)
    if _is_spread(head, path):
        numbered: Iterable[tuple[int, bytes | None]] = cut_objects(chained, path, caps.record_bytes)
    else:
        numbered = cut_lines(chained, caps.record_bytes)
    yield from _unstacked(_decoded(numbered, caps), path)


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
        raise RecordError(f"not JSON: {_told(error)} at character {error.pos}") from error
    except ValueError as error:
        # Covers our own RecordError from the hooks and integers of more digits than Python reads.
        raise RecordError(str(error)) from error
    if not isinstance(value, dict):
        raise RecordError(f"expected an object with named columns, got {told(value)}")
    return value


def _told(error: json.JSONDecodeError) -> str:
    """Say in common words what is wrong where the parser stopped."""
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if after[:1] in ("}", "]") and before[-1:] == ",":
        return "a comma before the closing bracket,"
    if error.msg == "Illegal trailing comma before end of object":
        return "a comma before the closing bracket,"
    if after.rstrip() == ",":
        return "a comma behind the object,"
    if after[:1] == "'":
        return "single quotes, where JSON has double ones,"
    return error.msg.removesuffix(" at")


def _peek(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return enough of the start to tell the layout, and what follows."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _PEEK:
            break
    return head, blocks


def _is_spread(head: bytes, path: Path) -> bool:
    """Whether the first object goes on in the second line, where it has no record of its own."""
    line, newline, rest = head.lstrip().partition(b"\n")
    rest = rest.lstrip()
    if not newline or not rest:
        return False
    if line[:1] != b"{":
        if rest[:1] not in b"{[":
            raise RecordError(
                f"{path} is not JSON, it begins with {_shown(line)}; a CSV file's name ends in "
                ".csv, that of one with tabs in .tsv"
            )
        return False
    return not is_whole(line) and (rest[:1] != b"{" or line.rstrip()[-1:] in b"[{")


def _shown(data: bytes) -> str:
    """Return the beginning of some bytes as a quoted text."""
    return f"{data[:40].decode('utf-8', 'replace')!r:.60}"


def _array_rows(blocks: Iterator[bytes], path: Path, caps: Caps, wrapped: bool) -> Iterator[Row]:
    rest = b""

    def elements() -> Iterator[tuple[int, bytes | None]]:
        nonlocal rest
        rest = yield from cut_array(blocks, path, caps.record_bytes)

    yield from _decoded(elements(), caps)
    behind = rest + next(blocks, b"")
    if (not _AFTER_WRAPPED.fullmatch(behind)) if wrapped else behind.strip():
        what = "the list that was read" if wrapped else "its array"
        raise RecordError(f"{path} goes on behind {what}, with {_shown(behind.strip())}")


def _decoded(numbered: Iterable[tuple[int, bytes | None]], caps: Caps) -> Iterator[Row]:
    for number, data in numbered:
        if data is None:
            yield Row(number, None, f"longer than {caps.record_bytes:,} bytes")
        elif not data.isspace() and data:
            try:
                yield Row(number, decode_record(data))
            except RecordError as error:
                yield Row(number, None, str(error))


def _unstacked(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    """Turn an object of columns into rows, where the first object of a text is one."""
    for first in rows:
        if first.value is None or (cut := _cut_columns(first.value, path)) is None:
            yield first
        else:
            yield from (Row(number, value) for number, value in enumerate(cut, start=1))
        break
    yield from rows


def _cut_columns(value: dict[str, Any], path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of an object of columns, as pandas writes one, or None if it is a record."""
    columns = list(value.values())
    if columns and all(isinstance(column, dict) and column for column in columns):
        keys = list(columns[0])
        if all(key.isdigit() for key in keys) and all(list(other) == keys for other in columns):
            columns = [list(column.values()) for column in columns]
        else:
            return None
    elif not _holds_columns(value):
        return None
    if len({len(column) for column in columns}) != 1:
        raise RecordError(f"{path} is an object of columns of different lengths; mend the file")
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _holds_columns(value: dict[str, Any]) -> bool:
    """A record's prompt is never a list of texts, and its messages are no list of lists."""
    if not value or not all(isinstance(column, list) and column for column in value.values()):
        return False
    return any(
        (name in _PROMPTS and isinstance(column[0], str))
        or (isinstance(column[0], list) and column[0] and isinstance(column[0][0], dict))
        for name, column in value.items()
    )


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
