"""Docstrings as text of a page."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """Return a docstring as text of a page: braces, angles and bars mean nothing to Markdown.

    What stands between backticks stays as it is.
    """
    parts = re.split(r"(`[^`]*`)", text)
    marks = re.compile(r"([<>\[\]{}|*_])")
    return "".join(
        part if part.startswith("`") else marks.sub(r"\\\1", part).replace("\\<", "&lt;")
        for part in parts
    )
