"""Whose report it is: put into the copy that a run shows, never into the artifact.

The artifact of a report has the same bytes wherever the same evaluations went in, and so it can be
found by another run. What names one run would make each its own: its id, its date and its pages,
and seed and configuration too, since two configurations that differ in where or how often things
are done, in budgets or in whom to notify come to one report.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.report.tables import escape_markdown


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells the report of one run from that of another."""

    run: str
    """The run's id."""
    facts: Mapping[str, str]
    """What is said of it, by name: run, date, commit, seed, configuration."""
    pages: Mapping[str, str]
    """Addresses of its pages, by the server's name; empty where no server shows it now."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"run": self.run, "facts": dict(self.facts), "pages": dict(self.pages)}


_UNSEEN = "`sparring up` starts what shows it"


def identify_html(page: str, identity: Identity) -> str:
    """Return a report's page with whose it is below its title; every text is escaped."""
    said = [(name, html.escape(text)) for name, text in identity.facts.items()]
    for name, address in identity.pages.items():
        safe = html.escape(address)
        said.append((name, f'<a href="{safe}">{safe}</a>' if address else html.escape(_UNSEEN)))
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{text}</dd>" for name, text in said)
    named = page.replace("</title>", f" · {html.escape(identity.run)}</title>", 1)
    return named.replace("</h1>", f'</h1>\n<dl class="identity">{rows}</dl>', 1)


def identify_markdown(text: str, identity: Identity) -> str:
    """Return a report's text with whose it is below its first line, the title."""
    lines = [
        f"- {escape_markdown(name)}: {escape_markdown(fact)}"
        for name, fact in identity.facts.items()
    ]
    for name, address in identity.pages.items():
        lines.append(f"- {escape_markdown(name)}: {f'<{address}>' if address else _UNSEEN}")
    title, _, rest = text.partition("\n")
    return "\n".join([title, "", *lines, rest])


def identify_json(report: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    """Return a report's plain values with whose it is."""
    return {**report, "identity": identity.to_json()}
