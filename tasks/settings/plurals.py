"""Words for people that depend on a number."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with the words for one thing or for several of it.

    Args:
        number: How many there are.
        one: What one is called.
        several: What more or none are called. Default: with an s.

    Example:
        >>> counted(1, "answer is", "answers are"), counted(1200, "row")
        ('1 answer is', '1,200 rows')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
