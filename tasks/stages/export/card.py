"""The sections that every card has: what it was made of, how, and under which licence.

A card leaves this machine, so it names no folder of it and no command that was run on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.report.tables import Column, Table, escape_markdown, to_markdown
from tasks.settings.printable import printable
from tasks.stages.export.origins import Measured, Origins
from tasks.stages.key import stage_title

CARD = "README.md"
"""The file that the hub shows."""
UNKNOWN = "unknown"
"""The hub's word for a licence that nobody stated."""
_PRIVATE = {"command", "environment"}
"""Settings that may hold what is somebody's own: the line that starts a server, its variables."""
_FOLDER = re.compile(r"^(?:[/~]|[A-Za-z]:[\\/]).*[\\/]")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One output on its way out."""

    origins: Origins
    """What is known of it."""
    source: Path
    """Its folder in the store."""
    folder: Path
    """The folder that is being filled; it exists."""
    name: str
    """What that folder will be called."""
    licence: str
    """As the hub spells it."""


def card_text(front: Any, title: str, sections: Iterable[tuple[str, str]]) -> str:
    """Return a card: the front matter that the hub reads, a title, and sections.

    Args:
        front: A `ModelCardData` or `DatasetCardData` of huggingface_hub.
        title: Its heading.
        sections: Headings and texts; one without a text is left out, one without a heading leads.
    """
    parts = [f"# {plain_line(title)}"]
    for heading, text in sections:
        if text:
            parts.append(f"## {heading}\n\n{text.strip()}" if heading else text.strip())
    return f"---\n{front.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def plain_line(text: str) -> str:
    """Make a text of the user's one line of markdown without control characters."""
    return escape_markdown(printable(text))


def code_block(language: str, text: str) -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.strip()}\n```"


def title_of(origins: Origins) -> str:
    """Return what people call an output."""
    return stage_title(origins.manifest.stage, origins.manifest.label)


def made_of(origins: Origins) -> str:
    """Return the tables of an output's parents and of the files that it goes back to."""
    parents = [
        (edge.role + (f" ({edge.part})" if edge.part else ""), node.title, node.key[:16])
        for edge, node in origins.parents
    ]
    files = [(node.title, node.digest) for node in origins.files]
    files += [(name, "on the hub") for name in (*origins.hub_models, *origins.hub_data)]
    tables = [
        _table("Parents", ("as", "what", "key"), parents),
        _table("Data and models that it goes back to", ("name", "MD5"), files),
    ]
    return "\n".join(to_markdown(table) for table in tables if table.rows)


def numbers_of(origins: Origins) -> str:
    """Return what was measured of a model, a table for each evaluation, and what to doubt of it."""
    doubts = [f"**Beware:** {escape_markdown(doubt)}.\n" for doubt in origins.doubts]
    return "\n".join(doubts) + "\n".join(
        to_markdown(
            _table(
                node.title,
                ("metric", "value", "95 % interval"),
                [(one.name, _number(one.value), _interval(one)) for one in found],
            )
        )
        for node, found in origins.evaluations
    )


def made_how(origins: Origins) -> str:
    """Return stage, run, commit, libraries and settings: what it takes to make it again."""
    from yaml import safe_dump

    made, provenance = origins.manifest, origins.manifest.provenance
    libraries = provenance.get("libraries", {})
    facts = [
        ("stage", f"{made.stage}, version {made.version}"),
        ("key", made.key),
        ("digest", f"{made.digest} (MD5, as DVC counts it)"),
        ("run", str(provenance.get("run", ""))),
        ("commit", str(provenance.get("git_commit", ""))),
        ("created", str(provenance.get("created", ""))),
        ("seed", "" if made.seed is None else str(made.seed)),
        ("libraries", ", ".join(f"{name} {number}" for name, number in libraries.items())),
    ]
    table = _table("Record", ("", "value"), [fact for fact in facts if fact[1]])
    settings = safe_dump(shareable(made.config), allow_unicode=True, sort_keys=False)
    return to_markdown(table) + "\nIts settings:\n\n" + code_block("yaml", settings)


def licence_text(licence: str) -> str:
    """Return what a card says about the licence."""
    if licence == UNKNOWN:
        return (
            "None was stated when this was exported. The licences of what it was made of (below) "
            "hold: look at them before you share it."
        )
    return f"{plain_line(licence)}; stated by whoever exported this."


def shareable(value: Any) -> Any:
    """Return settings without what is of one machine: folders and commands.

    Example:
        >>> shareable({"path": "/data/of/mine/pairs.jsonl", "limit": 5})
        {'path': 'pairs.jsonl', 'limit': 5}
    """
    if isinstance(value, Mapping):
        return {name: shareable(one) for name, one in value.items() if name not in _PRIVATE}
    if isinstance(value, list | tuple):
        return [shareable(one) for one in value]
    return _FOLDER.sub("", value) if isinstance(value, str) else value


def _table(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    cells = tuple(tuple(map(printable, row)) for row in rows)
    return Table("", title, tuple(map(Column, header)), cells)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 100 else f"{value:.4g}"


def _interval(found: Measured) -> str:
    if found.interval is None:
        return "–"
    low, high = found.interval
    return f"{low:.3g} to {high:.3g}"
