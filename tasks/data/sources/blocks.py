"""The text of a file as blocks of UTF-8, unpacked and within its caps."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tasks.data.sources.row import Caps
from tasks.settings.errors import RecordError

_BLOCK = 1 << 20
# Expansion is judged only beyond this size: small repetitive files compress arbitrarily well.
_RATIO_FROM_BYTES = 256 << 20
_UTF8_MARK = b"\xef\xbb\xbf"


def text_blocks(path: Path, zipped: bool, caps: Caps) -> Iterator[bytes]:
    """Yield the text of a file in UTF-8, without a byte-order mark.

    Args:
        path: The file.
        zipped: Whether it is a gzip file.
        caps: How much that may expand.

    Raises:
        RecordError: The gzip file is damaged or expands too much, or the text is no UTF-16 though
            it begins so.
    """
    blocks = _raw_blocks(path, zipped, caps)
    first = next(blocks, b"")
    encoding = _wide_encoding(first)
    if encoding is None:
        yield first.removeprefix(_UTF8_MARK)
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in chain([first], blocks):
            yield decoder.decode(block).removeprefix("\ufeff").encode()
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise RecordError(f"{path} is damaged {encoding} ({error}); save it as UTF-8") from error


def _wide_encoding(first: bytes) -> str | None:
    """Tell UTF-16 and UTF-32 by the byte-order mark, UTF-16 also by every other byte being zero."""
    if first.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(first) > 3 and first[1] == first[3] == 0 and first[0] and first[2]:
        return "utf-16-le"
    if len(first) > 3 and first[0] == first[2] == 0 and first[1] and first[3]:
        return "utf-16-be"
    return None


def _raw_blocks(path: Path, zipped: bool, caps: Caps) -> Iterator[bytes]:
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
