"""The pages of the documentation: their fenced blocks, and what each asks a test to do.

A block of `bash` is run as it stands, page by page, in one shell of a project folder. Its title may
say otherwise, to the reader and to the test alike:

- `Needs …` (GPUs, a cluster, a bucket): every command is checked, nothing is started.
- `In the clone …`: the same; it sets the project up, which has been done.
- `About … minutes …`: checked by the quick test, run by the slow one.

A block of `yaml` is checked by the configurations' models; with a file's name as its title it is
written to that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"bash", "yaml", "json", "text", "ini", "python", "diff"}
_FENCE = re.compile(r"^```(\w*)(?: +title=\"([^\"]*)\")?\s*$")


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    """Path of the page in the project."""
    line: int
    """Where its text begins, from 1."""
    language: str
    """First word of the fence."""
    title: str
    """What the fence says in `title="…"`."""
    text: str
    """What is between the fences."""

    @property
    def is_only_checked(self) -> bool:
        """Whether its commands need what a test does not have."""
        return self.title.startswith(("Needs ", "In the clone"))

    @property
    def is_long(self) -> bool:
        """Whether its commands take minutes."""
        return self.title.startswith("About ")


def page_names() -> list[str]:
    """Return every page that promises something: README, CONTRIBUTING and docs, results aside."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    names = [path.relative_to(ROOT).as_posix() for path in pages]
    ours = [name for name in names if not name.startswith("docs/results/")]
    return ["README.md", "CONTRIBUTING.md", *ours]


def read_page(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / name).read_text("utf-8")


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page.

    Args:
        page: Its name, for messages.
        text: Its text.

    Raises:
        ValueError: A fence is not closed, or says something that no test would read.
    """
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        found = _FENCE.match(lines[number])
        if found is None and lines[number].lstrip().startswith("```"):
            raise ValueError(f"{page}:{number + 1} is a fence that no test reads: {lines[number]}")
        if found is None:
            number += 1
            continue
        language, title = found[1], found[2] or ""
        if language not in LANGUAGES:
            raise ValueError(f"{page}:{number + 1} has a block of {language!r}, not {LANGUAGES}")
        begin = number + 1
        number = next((n for n in range(begin, len(lines)) if lines[n].strip() == "```"), -1)
        if number < 0:
            raise ValueError(f"{page}:{begin} opens a block that is never closed")
        yield Block(page, begin + 1, language, title, "\n".join(lines[begin:number]))
        number += 1


def commands_of(block: Block) -> Iterator[tuple[int, str]]:
    """Yield each command of a block with its line: comments left out, continued lines joined."""
    words, begin = "", 0
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        bare = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        begin = begin if words else number
        words += bare.removesuffix("\\")
        if bare.endswith("\\"):
            continue
        if words.strip():
            yield begin, words.strip()
        words = ""
