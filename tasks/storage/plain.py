"""JSON of plain values only, written in one way, so that two processes produce the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(obj: Any, *, indent: int | None = None) -> str:
    """Write plain values as JSON with sorted keys.

    Args:
        obj: None, bool, int, finite float, str, list, tuple, or dict with str keys, nested.
        indent: spaces per level; None puts everything on one line without spaces.

    Returns:
        The text, not escaped beyond what JSON needs; it can always be encoded as UTF-8.

    Raises:
        TypeError: for any other value, naming where it stands, as in `config.rates[2]`.
    """
    try:
        _require_plain(obj, "")
    except RecursionError:
        raise TypeError(f"a {type(obj).__name__} nested too deep or in itself is no JSON") from None
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(obj, sort_keys=True, ensure_ascii=False, indent=indent, separators=separators)


def plain_metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Return metrics as JSON can hold them: "nan" and "inf" become words."""
    numbers = {name: float(value) for name, value in metrics.items()}
    return {name: one if math.isfinite(one) else str(one) for name, one in numbers.items()}


def _require_plain(obj: Any, where: str) -> None:
    """Raise a TypeError that names the first value in `obj` that JSON cannot hold."""
    if obj is None or isinstance(obj, (bool, int)):
        return
    if isinstance(obj, str):
        _require_encodable(obj, where)
    elif isinstance(obj, float):
        if not math.isfinite(obj):
            raise TypeError(f"{where or 'the value'} is {obj}; only finite numbers are JSON")
    elif isinstance(obj, (list, tuple)):
        for index, item in enumerate(obj):
            _require_plain(item, f"{where}[{index}]")
    elif isinstance(obj, dict):
        for key, item in obj.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"{where or 'the value'} has the key {key!r} of type "
                    f"{type(key).__name__}; keys must be str"
                )
            _require_encodable(key, where)
            _require_plain(item, f"{where}.{key}" if where else key)
    else:
        raise TypeError(
            f"{where or 'the value'} is a {type(obj).__module__}.{type(obj).__qualname__}; "
            "expected None, bool, int, float, str, list or dict"
        )


def _require_encodable(text: str, where: str) -> None:
    """Raise a TypeError if `text` holds half a surrogate pair, which UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"{where or 'the value'} holds {text!r}, not UTF-8: {error}") from None
