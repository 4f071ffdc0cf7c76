"""Small sources written to a file, and read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.sources.tally import BadRecord

CHOICE = {"chosen": "yes", "rejected": "no"}
BOT = {"role": "assistant", "content": "yes"}


def write(path: Path, *rows: object) -> str:
    """Write rows as JSON lines and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def dialogue(answer: str) -> list[dict]:
    """Return a whole dialogue that ends in an answer."""
    return [{"role": "user", "content": "c"}, {"role": "assistant", "content": answer}]


def pair(text: str, **more: object) -> dict:
    """Return a preference after a prompt."""
    return {"prompt": text, "chosen": "yes", "rejected": "no", **more}


def read(max_bad_share: float = 0.01, **config: object) -> tuple[list[str], list[BadRecord]]:
    """Return the prompts that are read, and what is not."""
    bad: list[BadRecord] = []
    found = read_source(SourceConfig(**config), bad.append, max_bad_share=max_bad_share)
    return [group.prompt[0].content for group in found], bad
