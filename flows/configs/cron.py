"""Whether a cron expression means something, said before Prefect is there to say it."""

from __future__ import annotations

import re
from typing import NamedTuple

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()


class _Field(NamedTuple):
    """One place of a cron expression."""

    name: str
    low: int
    high: int
    names: dict[str, int]
    special: str
    """Further values that Prefect understands there, as a regular expression."""


_FIELDS = (
    _Field("minute", 0, 59, {}, r"(?!)"),
    _Field("hour", 0, 23, {}, r"(?!)"),
    _Field("day of the month", 1, 31, {}, r"l"),
    _Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}, r"(?!)"),
    _Field(
        "day of the week", 0, 7, {name: n for n, name in enumerate(_DAYS)}, r"[0-7]#[1-5]|l[0-7]"
    ),
)
_ALIASES = {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}


def check_cron(text: str) -> None:
    """Check a cron expression of five fields, or a word such as `@daily`.

    Raises:
        ValueError: it is none, with the field that is wrong and its range.

    Example:
        >>> check_cron("30 3 * * mon-fri")
        >>> check_cron("61 3 * * *")
        Traceback (most recent call last):
        ValueError: '61' is no minute: numbers from 0 to 59, as in 5, 1-4, */2 or 1,3
    """
    if text.lower() in _ALIASES:
        return
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(parts)} fields; a cron expression has five: minute, hour, day of "
            "the month, month, day of the week, as in '0 3 * * *' (every day at 3:00)"
        )
    for field, part in zip(_FIELDS, parts, strict=True):
        for item in part.split(","):
            if not _is_meant(field, item):
                raise ValueError(
                    f"{item!r} is no {field.name}: numbers from {field.low} to {field.high}, "
                    "as in 5, 1-4, */2 or 1,3"
                )


def _is_meant(field: _Field, item: str) -> bool:
    """Whether one item of a field's list is a value, a range or a step within the bounds."""
    if re.fullmatch(field.special, item):
        return True
    matched = re.fullmatch(r"(\*|\w+(?:-\w+)?)(?:/(\d+))?", item)
    if matched is None:
        return False
    span, step = matched.groups()
    if step is not None and int(step) < 1:
        return False
    if span == "*":
        return True
    ends = [_number(field, end) for end in span.split("-")]
    return None not in ends and ends == sorted(ends, key=int)  # type: ignore[arg-type]


def _number(field: _Field, word: str) -> int | None:
    """Return a value of a field, or None for what is none."""
    value = field.names.get(word, int(word) if word.isdecimal() else -1)
    return value if field.low <= value <= field.high else None
