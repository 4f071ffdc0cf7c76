"""The user's text as it may be shown: nothing in it steers a terminal or hides what it says."""

from __future__ import annotations

import re

STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, among them the escape of a terminal
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line and direction marks
    "\ud800-\udfff]"  # half a character, as names of files may hold it
)
"""What a terminal would obey and not show, one character."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with every character escaped that would not be shown but obeyed.

    Args:
        text: Anything: a file's name, a column, a label, a record's words.
        keep: Characters that are meant, such as the line breaks of a whole page.

    Example:
        >>> print(printable("\x1b[31mred\n"))
        \x1b[31mred\n
    """
    return STEERING.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def excerpt(text: str, limit: int = 40) -> str:
    """Return the first words of a text in quotation marks, on one line, to know it by.

    Example:
        >>> excerpt("How do I boil an egg, if I have no pot and only a kettle?")
        '“How do I boil an egg, if I have no pot …”'
    """
    words = " ".join(text[: 8 * limit].split())
    if len(words) > limit:
        kept = words[: limit + 1].rpartition(" ")[0] or words[:limit]
        words = f"{kept} …"
    return f"“{printable(words)}”"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
