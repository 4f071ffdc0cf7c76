"""Small sources of preferences, and what `prepare` makes of them."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.data.config import DataConfig
from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.prepare import PARTS, prepare
from tasks.settings.log import NullLog


def source(path: Path, *rows: object) -> list[dict]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return [{"path": str(path)}]


def pair(text: str, chosen: str = "yes", rejected: str = "no") -> dict:
    return {"prompt": text, "chosen": chosen, "rejected": rejected}


def pairs(name: str, count: int) -> list[dict]:
    return [pair(f"{name} {i}", chosen=f"yes {i}") for i in range(count)]


def run(output: Path, **config: object) -> tuple[dict[str, float], dict[str, list[Group]]]:
    metrics = prepare(DataConfig(**config), output, NullLog())
    return metrics, {part: list(read_groups(output / part)) for part in PARTS}


def first_words(groups: list[Group]) -> set[str]:
    return {group.prompt[0].content for group in groups}
