"""A record in the form of each public set and toolkit that we know, and what is read of it.

The records of `published.jsonl` are made by ourselves. The page of the data forms shows the list; a
test compares both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.groups import Group


class Published(NamedTuple):
    """A record in the form of a public set or toolkit."""

    name: str
    """The set or toolkit."""
    row: dict[str, Any]
    """A record of that form."""
    form: str
    """The form in which it is read, or the refusal."""
    group: Group | None
    """What is read; None if it is refused."""


def _published() -> list[Published]:
    text = Path(__file__).with_suffix(".jsonl").read_text(encoding="utf-8")
    found = []
    for one in map(json.loads, text.splitlines()):
        group = one["group"] and Group.from_json(one["group"])
        found.append(Published(one["name"], one["row"], one["form"], group))
    return found


READ = [one for one in _published() if one.group is not None]
"""Records that are read."""
REFUSED_ROWS = [one for one in _published() if one.group is None]
"""Records that are refused by name."""
