"""What was found in one data file."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.data.inspection.spread import Spread
from tasks.data.inspection.tokens import TokenStatistics


@dataclass(frozen=True)
class Reason:
    """Why records could not be read."""

    count: int
    """How many could not for this reason."""
    example: str
    """The first of them: file, line, reason."""
    text: str
    """Where the first few are, how many more there are, and the reason of the first."""


@dataclass(frozen=True)
class FileReport:
    """What was found in one file."""

    path: str
    """The file as given."""
    format: str
    """The form that most records were read in; "unknown" if none was."""
    forms: dict[str, int]
    """How many records were read in each form."""
    groups: int
    """Readable records."""
    prompts: int
    """Distinct prompts among them."""
    bad_records: int
    """Unreadable records, left out of everything below."""
    max_bad_share: float
    """Largest share of unreadable records that a run lets pass."""
    bad_examples: tuple[str, ...]
    """One of each reason: file, line, reason."""
    bad_reasons: tuple[Reason, ...]
    """Why they could not be read, the most frequent reason first."""
    left_out: dict[str, int]
    """Records that were read and give nothing to learn from, by reason."""
    ignored_columns: dict[str, int]
    """In how many records each column that nobody reads was filled."""
    dropped: dict[str, int]
    """Readable records that a run leaves out, by the reason that its cleaning gives."""
    responses_per_prompt: dict[int, int]
    """How many records have K responses, by K."""
    chosen_longer: float | None
    """Share of comparisons whose best response has more characters than the worst, half of those
    in which they are equally long; 0.5: no hint."""
    prompt_chars: Spread
    """Characters per prompt, all turns."""
    response_chars: Spread
    """Characters per response."""
    tokens: TokenStatistics | None
    """The statistics in tokens; None without a tokenizer."""
