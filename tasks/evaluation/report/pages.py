"""Templates of the pages that are written for people to open: each is one file, all escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def page_template(path: Path, **whitespace: Any) -> Template:
    """Return the Jinja template of a page, in which every text is escaped and every name known.

    Args:
        path: Its file.
        **whitespace: Jinja's own settings of blank space, beside `trim_blocks`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        **whitespace,
    )
    return pages.get_template(path.name)
