"""A text of JSON cut into its records, by line or by brackets outside of strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path

from tasks.settings.errors import RecordError

_TOKEN = re.compile(rb'"(?:[^"\\]+|\\.)*+"|["{}\[\],]', re.DOTALL)
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")


def is_whole(text: bytes) -> bool:
    """Return whether every bracket and string that begins in a text ends in it."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] == b'"':
            return False
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
    return depth == 0


def cut_lines(blocks: Iterator[bytes], cap: int) -> Iterator[tuple[int, bytes | None]]:
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


def cut_array(
    blocks: Iterator[bytes], path: Path, cap: int
) -> Generator[tuple[int, bytes | None], None, bytes]:
    """Split the text of a JSON array into those of its elements.

    Returns:
        What was read of the text behind the array; the rest of it is still in `blocks`.

    Raises:
        RecordError: The array breaks off, also because an element is far longer than `cap`.
    """
    closed, rest = yield from _cut(blocks, path, cap, _elements)
    if not closed:
        raise RecordError(f"{path} breaks off inside its array; fetch it again")
    return rest


def cut_objects(
    blocks: Iterator[bytes], path: Path, cap: int
) -> Iterator[tuple[int, bytes | None]]:
    """Split a text of objects, one after another over any lines, into those of each.

    Raises:
        RecordError: The last one breaks off, also because it is far longer than `cap`.
    """
    _, rest = yield from _cut(blocks, path, cap, _objects)
    if rest.strip():
        raise RecordError(f"{path} breaks off inside its last object; fetch it again")


def _cut(
    blocks: Iterator[bytes],
    path: Path,
    cap: int,
    find: Callable[[bytes, bool], Iterator[tuple[int, int, int]]],
) -> Generator[tuple[int, bytes | None], None, tuple[bool, bytes]]:
    """Yield what `find` finds; return whether an array was closed, and what is left over."""
    buffer, number, want, opened = b"", 0, 1, False
    for block in chain(blocks, [b""]):
        buffer += block
        if block and len(buffer) < want:
            continue
        start = 0
        for begin, end, after in find(buffer, opened):
            number += 1
            yield number, (buffer[begin:end] if end - begin <= cap else None)
            start, opened = after, True
            if buffer[end:after] == b"]":
                return True, buffer[after:]
        buffer = buffer[start:]
        if len(buffer) > cap:
            raise RecordError(f"{path}: record {number + 1} is longer than {cap:,} bytes")
        # An element that does not fit is scanned again only after the buffer has doubled.
        want = 2 * len(buffer)
    return False, buffer


def _elements(buffer: bytes, opened: bool) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and what follows; `opened`: the array's own bracket has gone by."""
    depth, begin = (1, 0) if opened else (0, 0)
    for token in _TOKEN.finditer(buffer):
        mark = token[0]
        if mark == b'"':
            return
        if mark in _OPENING:
            depth += 1
            if depth == 1:
                begin = token.end()
        elif mark in _CLOSING:
            depth -= 1
        if (mark == b"," and depth == 1) or (mark == b"]" and depth == 0):
            yield begin, token.start(), token.end()
            begin = token.end()
        if depth == 0:
            return


def _objects(buffer: bytes, opened: bool) -> Iterator[tuple[int, int, int]]:
    depth, begin = 0, 0
    for token in _TOKEN.finditer(buffer):
        if token[0] == b'"':
            return
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        if token[0] in _CLOSING and depth <= 0:
            yield begin, token.end(), token.end()
            depth, begin = 0, token.end()
