"""What became of the records of sources: read in which form, and what of them nobody read."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from tasks.settings.printable import printable

MAX_BAD_SHARE = 0.01
"""Largest share of unreadable records that a run lets pass unless it is told otherwise."""


class BadRecord(NamedTuple):
    """A record that could not be read and is left out."""

    source: str
    """File or hub set."""
    line: int
    """Line of a jsonl file, otherwise number of the record, from 1."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        """Return `file:line: reason` as it may be shown."""
        return printable(f"{self.source}:{self.line}: {self.reason}")


def too_many_bad(bad: int, total: int, most: float) -> bool:
    """Say whether a source has more unreadable records than it may.

    One alone stops nothing: of a short file it would be more than any share.

    Args:
        bad: Unreadable records.
        total: All records.
        most: The share that is let pass, `max_bad_share`; 0 lets not even one pass.
    """
    return bad > most * total and (bad > 1 or not most)


def share_that_allows(bad: int, total: int) -> float:
    """Return the smallest share in whole percent that lets so many unreadable records pass.

    Example:
        >>> share_that_allows(9, 612), share_that_allows(1, 1)
        (0.02, 1.0)
    """
    return math.ceil(100 * bad / total) / 100


class Tally:
    """Counts what a reader made of its records; one may be handed to several sources in turn.

    Example:
        >>> tally = Tally()
        >>> tally.add("pairs", ("margin", "system"))
        >>> tally.add("pairs", ("margin",))
        >>> dict(tally.forms), dict(tally.ignored)
        ({'pairs': 2}, {'margin': 2, 'system': 1})
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._readings: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.left_out: Counter[str] = Counter()
        """Records that were read and that give nothing to learn from, by reason."""

    def add(self, form: str, ignored: tuple[str, ...]) -> None:
        """Count a record that was read in a form, and the filled columns that were not read."""
        self._readings[form, ignored] += 1

    @property
    def forms(self) -> Counter[str]:
        """How many records were read in each form."""
        counts: Counter[str] = Counter()
        for (form, _), count in self._readings.items():
            counts[form] += count
        return counts

    @property
    def ignored(self) -> Counter[str]:
        """In how many records each column that nobody read was filled."""
        counts: Counter[str] = Counter()
        for (_, columns), count in self._readings.items():
            counts.update(dict.fromkeys(columns, count))
        return counts
