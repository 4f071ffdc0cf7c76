"""What was wrong with gold, as a section of the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.evaluation.report.document import Section
from tasks.evaluation.report.tables import Column, Table
from tasks.gold.answer_lengths import Lengths

_MEANS = {
    "withheld": "kept back by the server's filter, or refused in its own field",
    "empty": "nothing in it",
    "truncated": "cut off by the limit of tokens",
    "refused": "begins as refusals do",
    "duplicate": "the same text for several prompts",
    "language": "another language than the prompt",
    "length": "far longer than the chosen answers",
}


def gold_section(quality: Mapping[str, Any]) -> Section:
    """Lay out what was found in gold before anything learned from it: `quality.json` as read."""
    found = {kind: counts for kind, counts in quality["kinds"].items() if any(counts.values())}
    rows = tuple(
        (kind, _MEANS[kind], counts["kept"], counts["repaired"], counts["quarantined"])
        for kind, counts in found.items()
    )
    columns = (
        *map(Column, ("Kind", "What it means")),
        *(Column(name, ",") for name in ("Kept", "Repaired", "Quarantined")),
    )
    note = (
        "Answers by what is wrong with them; one can be of several kinds. Nothing learns from "
        "those in quarantine: quarantine.jsonl of the stage has them, with what the server sent."
    )
    notes = [Lengths(**quality["lengths"]).sentence()] if quality["lengths"] else []
    notes += [] if found else ["nothing was found wrong with the gold answers"]
    tables = [Table("gold-quality", "Gold answers by problem", columns, rows, note)] if rows else []
    return Section("Gold", notes, tables)
