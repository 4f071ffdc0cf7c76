"""Plain texts, with a label where the file has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.data.groups import Group, normalise, text_hash
from tasks.data.sources.dialogue import require_text
from tasks.settings.errors import RecordError

# IMDB's reviews come from web pages: their line breaks are the only markup in them.
_LINE_BREAKS = re.compile(r"\s*<br\s*/?>(?:\s|<br\s*/?>)*", re.IGNORECASE)


def parse_text(row: Mapping[str, Any]) -> Group:
    """Read a text as a response to nothing; its score is its label, 1 or 0, if it has one.

    A label of None or -1 (the hub's sign for IMDB's unsupervised part) is none.
    """
    text = _LINE_BREAKS.sub("\n", require_text(row["text"], "text")).strip()
    label = row.get("label")
    if label not in (None, -1, 0, 1):
        raise RecordError(f"'label' should be 1, 0 or absent, is {label!r:.80}")
    name = row.get("id")
    if isinstance(name, str):
        require_text(name, "id")
    return Group(
        (),
        (text,),
        None if label in (None, -1) else (float(label),),
        ("human",),
        id=text_hash("text", normalise(text)),
        extra={"record": name} if isinstance(name, str | int) else {},
    )
