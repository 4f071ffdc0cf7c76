"""Files that only grow by whole records: what a paid request or a finished item leaves behind.

A record is one line: the length of its JSON in bytes, the JSON's CRC-32 in hex, the JSON. A kill
can tear only the last line; any other damage is found and named by its line.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.storage.digests import canonical_json
from tasks.storage.durable import (
    clear_disk_errors,
    make_folder,
    open_as_folder,
    sync_directory,
    sync_file,
)
from tasks.storage.errors import CorruptError
from tasks.storage.faults import fault_point
from tasks.storage.files import write_atomic

_BLOCK = 1 << 16


def append_record(path: Path, obj: Any, *, sync: bool = True) -> None:
    """Add one record; when this returns, it survives a power cut.

    Processes may append to one journal at the same time. A torn last line is cut off first.

    Args:
        path: the journal; it and its folder are made.
        obj: plain values, as for `canonical_json`.
        sync: False for a record that need only survive this process; it costs no wait for the
            disk, and the next one that is synced takes it along.

    Raises:
        TypeError: when `obj` is not plain; nothing is written then.
        DiskError: when the disk refuses; the journal is then as it was.
    """
    path = Path(path)
    line = _line(obj)
    with clear_disk_errors(path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size == 0:
                open_as_folder(descriptor, path.parent)
            end = _mended_end(descriptor, size) if size else 0
            try:
                fault_point(f"append to {path.name}")
                _write_all(descriptor, line, end)
                if sync:
                    sync_file(path, descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            if size == 0:
                sync_directory(path.parent)
        finally:
            os.close(descriptor)


def read_records(path: Path) -> list[Any]:
    """Read all whole records, in the order of writing; no file means none.

    A torn last line is left out.

    Raises:
        CorruptError: when any other line is damaged, with its number.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    tail = lines.pop()
    records = [_parse(line, path, number) for number, line in enumerate(lines, 1)]
    if _is_whole(tail, path, len(lines) + 1):
        records.append(_parse(tail, path, len(lines) + 1))
    return records


def read_new_records(path: Path, start: int) -> tuple[list[Any], int]:
    """Read the records behind a place in a journal; one that is still being written waits.

    Args:
        path: The journal; none yet is an empty one.
        start: Where the last call ended, in bytes; 0 for the beginning.

    Returns:
        The records, and where they end.

    Raises:
        CorruptError: One is damaged; its place is named, in lines behind `start`.
    """
    try:
        with open(path, "rb") as file:
            file.seek(start)
            whole, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], start
    if not newline:
        return [], start
    where = Path(f"{path} behind byte {start:,}") if start else Path(path)
    records = [_parse(line, where, number) for number, line in enumerate(whole.split(b"\n"), 1)]
    return records, start + len(whole) + 1


def mend_tail(path: Path) -> None:
    """Cut a torn last line off a journal, or give a whole one its newline; no file is fine.

    Raises:
        CorruptError: The last line is damaged in a way that no kill can cause.
        DiskError: When the disk refuses.
    """
    with clear_disk_errors(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if size := os.fstat(descriptor).st_size:
                _mended_end(descriptor, size)
        finally:
            os.close(descriptor)


def sound_records(path: Path) -> tuple[list[Any], str]:
    """Read the whole records as `read_records` does, and go on behind damaged lines.

    Returns:
        The records, and a sentence about the first damaged line; empty for none.
    """
    try:
        return read_records(path), ""
    except CorruptError as error:
        problem = str(error)
    found = []
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        with suppress(CorruptError):
            found.append(_parse(line, path, number))
    return found, problem


def drop_damaged(path: Path) -> None:
    """Write a journal anew with its sound records only; call it while nobody appends."""
    records, problem = sound_records(path)
    if problem:
        write_atomic(path, b"".join(map(_line, records)))


def _line(record: Any) -> bytes:
    """Return a record as a line of a journal."""
    body = canonical_json(record)
    return b"%d %08x %s\n" % (len(body), zlib.crc32(body), body)


def _parse(line: bytes, path: Path, number: int) -> Any:
    """Return the record in a line, or raise `CorruptError`."""
    length, _, rest = line.partition(b" ")
    crc, _, body = rest.partition(b" ")
    if b"%d %08x" % (len(body), zlib.crc32(body)) != length + b" " + crc:
        raise CorruptError(
            f"{path} is damaged at line {number}: its length or checksum is wrong; "
            "restore the file, or remove that line to give up its record"
        )
    return json.loads(body)


def _is_whole(tail: bytes, path: Path, number: int) -> bool:
    """Tell whether a line without its newline lacks nothing else.

    Raises:
        CorruptError: when it is longer than its own length says, which no kill can cause.
    """
    length, _, rest = tail.partition(b" ")
    body = rest.partition(b" ")[2]
    if not length.isdigit() or len(body) < int(length):
        return False
    _parse(tail, path, number)
    return True


def _mended_end(descriptor: int, size: int) -> int:
    """Cut a torn last line off, or give a whole one its newline; return where to append."""
    if os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        begin = max(0, start - _BLOCK)
        tail = os.pread(descriptor, start - begin, begin) + tail
        start = begin
    tail = tail.rpartition(b"\n")[2]
    if _is_whole(tail, Path(f"the journal (last {len(tail)} bytes)"), 1):
        _write_all(descriptor, b"\n", size)
        return size + 1
    os.ftruncate(descriptor, size - len(tail))
    return size - len(tail)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, however many calls the kernel needs."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
