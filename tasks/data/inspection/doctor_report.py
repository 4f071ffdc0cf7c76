"""What was found in data files together, as JSON and as rows of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.data.inspection.advice import advise
from tasks.data.inspection.file_report import FileReport
from tasks.data.inspection.spread import lengths_cell, share_cell


@dataclass(frozen=True)
class Overlap:
    """What two files share."""

    one: str
    """A file."""
    other: str
    """Another."""
    first_turns: int
    """Distinct first user turns in both."""
    prompts: int
    """Distinct whole prompts in both."""


@dataclass(frozen=True)
class DoctorReport:
    """Everything found, one report per file and one line per pair of files."""

    files: tuple[FileReport, ...]
    """In the order given."""
    overlaps: tuple[Overlap, ...]
    """Every pair of files, also those that share nothing."""

    @property
    def is_usable(self) -> bool:
        """Whether a run would take every file."""
        return all(one.level != "error" for file in self.files for one in advise(file))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        tree = asdict(self)
        for file, report in zip(tree["files"], self.files, strict=True):
            counts = file["responses_per_prompt"]
            file["responses_per_prompt"] = {str(k): counts[k] for k in sorted(counts)}
            file["advice"] = [one._asdict() for one in advise(report)]
        return {"files": list(tree["files"]), "overlaps": list(tree["overlaps"])}

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table: a heading row, then one row per figure with a cell per file."""
        columns = [_cells(file) for file in self.files]
        table = [("", *(file.path for file in self.files))]
        table += [(name, *(column[name] for column in columns)) for name in columns[0]]
        return table


def _cells(file: FileReport) -> dict[str, str]:
    sizes = ", ".join(f"{k}: {count:,}" for k, count in file.responses_per_prompt.items())
    cells = {
        "format": file.format,
        "records": f"{file.groups:,}",
        "distinct prompts": f"{file.prompts:,}",
        "unreadable": f"{file.bad_records:,}",
        "dropped by a run": ", ".join(f"{n:,} {why}" for why, n in file.dropped.items()) or "0",
        "responses per prompt": sizes,
        "best response is longer": share_cell(file.chosen_longer),
        "prompt characters": lengths_cell(file.prompt_chars),
        "response characters": lengths_cell(file.response_chars),
    }
    if file.tokens is not None:
        cells |= file.tokens.cells()
    return cells
