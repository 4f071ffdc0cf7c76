"""Small records under a seal: a checksum in the file itself, so that damage is never believed.

A JSON object has it in the field `seal`; a text that other programs read has it in its first line,
`# seal: …`, so that a cut file has lost its end and not its seal. A file without one was written
before there were seals, and is read as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.storage.errors import CorruptError
from tasks.storage.files import write_atomic
from tasks.storage.plain import json_text

SEAL = "seal"
"""The field of a sealed JSON object that holds the SHA-256 of all others."""

_FIRST_LINE = re.compile(r"# seal: ([0-9a-f]{64})\n")


def sealed_json(values: Mapping[str, Any], *, in_order: bool = False) -> str:
    """Return plain values as a sealed JSON object, with sorted keys or `in_order` as they are.

    Raises:
        TypeError: For a value that is not plain.
    """
    if in_order:
        sealed = {**values, SEAL: _digest(dict(values))}
        return json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return json_text({**values, SEAL: _digest(dict(values))}, indent=1) + "\n"


def unsealed_json(data: bytes, name: str) -> dict[str, Any]:
    """Return the values of a sealed JSON object, without the seal.

    Args:
        data: The bytes of the file.
        name: What the file is called in the error's sentence.

    Raises:
        CorruptError: When it is no JSON object, or not what was sealed.
    """
    try:
        values = json.loads(data)
        if isinstance(values, dict) and _is_sound(values):
            return {key: value for key, value in values.items() if key != SEAL}
        reason = "it is not what was written"
    except (ValueError, TypeError, RecursionError) as error:
        reason = f"it is not valid JSON: {error}"
    raise CorruptError(f"{name} is damaged ({reason}); restore it from a copy, or remove it")


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as a sealed JSON file in one step.

    Raises:
        TypeError: For a value that is not plain, before anything is written.
        DiskError: When the disk refuses the write.
    """
    write_atomic(path, sealed_json(values))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote.

    Raises:
        FileNotFoundError: When there is no such file.
        CorruptError: When it is damaged, naming it.
    """
    return unsealed_json(Path(path).read_bytes(), str(path))


def write_twice(path: Path, values: Mapping[str, Any]) -> None:
    """Write a sealed JSON file and then a copy of it, for what nothing else could tell again."""
    write_sealed(path, values)
    write_sealed(_copy_of(path), values)


def read_either(path: Path) -> dict[str, Any]:
    """Read what `write_twice` wrote: the copy where the file itself is damaged.

    Raises:
        FileNotFoundError: When there is no such file.
        CorruptError: When both are damaged.
    """
    try:
        return read_sealed(path)
    except CorruptError as error:
        try:
            return read_sealed(_copy_of(path))
        except (OSError, CorruptError):
            raise error from None


def sealed_text(text: str) -> str:
    """Return a text behind a first line that holds its SHA-256; YAML takes that for a comment.

    Example:
        >>> sealed_text("seed: 1")[:14]
        '# seal: e8b0d9'
    """
    return f"# seal: {hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_sealed_text(path: Path) -> str:
    """Return a text that was written as `sealed_text`, without its first line.

    Raises:
        FileNotFoundError: When there is no such file.
        CorruptError: When it is damaged, naming it.
    """
    try:
        text = Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path} is damaged (it is not UTF-8: {error})") from error
    if sealed := _FIRST_LINE.match(text):
        rest = text[sealed.end() :]
        if sealed_text(rest) == text:
            return rest
    # One from before begins with a setting; what is left of a first line does not.
    elif text.strip() and text[0] != "#" and text[1:8] != " seal: " and "\0" not in text:
        return text
    raise CorruptError(f"{path} is damaged: it is not what was written; restore it from a copy")


def _copy_of(path: Path) -> Path:
    return Path(path).with_name(f".{Path(path).name}.copy")


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json_text(values).encode()).hexdigest()


def _is_sound(values: dict[str, Any]) -> bool:
    """Tell whether an object has the seal it should have, or never had one."""

    def fits(field: str) -> bool:
        rest = {key: value for key, value in values.items() if key != field}
        return bool(_digest(rest) == values[field])

    if SEAL in values:
        return fits(SEAL)
    json_text(values)
    # A seal whose own name was hit still fits; then this is no file from before there were seals.
    digests = [key for key, value in values.items() if isinstance(value, str) and len(value) == 64]
    return not any(fits(key) for key in digests)
