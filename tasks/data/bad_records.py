"""Records that cannot be read, gathered by reason: each reason is said once, with a count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.data.sources.tally import BadRecord
from tasks.settings.log import Log
from tasks.settings.printable import printable

_OWN_WORDS = re.compile(r"“[^”]*”|'[^']*'|\d+")
"""What differs between records of one kind: their words, their names, their numbers."""
_MOST_REASONS = 8
_MOST_PLACES = 3


@dataclass(frozen=True, slots=True)
class BadReason:
    """Why records could not be read, and where the first of them are."""

    count: int
    """How many could not for this reason."""
    first: tuple[BadRecord, ...]
    """The first few of them."""

    @property
    def places(self) -> str:
        """Where they are, as it may be shown: `a.jsonl:3, 7, 9 and 4 more`."""
        told: list[str] = []
        for before, one in zip((None, *self.first), self.first, strict=False):
            same = before is not None and before.source == one.source
            told.append(str(one.line) if same else printable(f"{one.source}:{one.line}"))
        more = self.count - len(self.first)
        return ", ".join(told) + (f" and {more:,} more" if more else "")

    def __str__(self) -> str:
        """Return the places and the reason of the first."""
        return f"{self.places}: {printable(self.first[0].reason)}"


class BadRecords:
    """Counts unreadable records by reason and keeps the first few of each.

    Example:
        >>> bad = BadRecords()
        >>> for line in (3, 7):
        ...     bad.add(BadRecord("a.jsonl", line, f"not JSON: Extra data at character {line}"))
        >>> list(bad.sentences())
        ['left out 2 records, a.jsonl:3, 7: not JSON: Extra data at character 3']
    """

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self._kinds: dict[str, BadReason] = {}

    def add(self, record: BadRecord) -> None:
        """Count one."""
        self.count += 1
        kind = _OWN_WORDS.sub("…", record.reason)
        known = self._kinds.get(kind, BadReason(0, ()))
        self._kinds[kind] = BadReason(known.count + 1, (*known.first, record)[:_MOST_PLACES])

    def reasons(self) -> list[BadReason]:
        """Return every reason, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: -kind.count)

    def sentences(self) -> Iterator[str]:
        """Yield one sentence per reason, the most frequent first."""
        kinds = self.reasons()
        for kind in kinds[:_MOST_REASONS]:
            many = f"{kind.count:,} records, " if kind.count > 1 else ""
            yield f"left out {many}{kind}"
        if others := kinds[_MOST_REASONS:]:
            rest = sum(kind.count for kind in others)
            yield f"left out {rest:,} records for {len(others)} further reasons"

    def say(self, log: Log) -> None:
        """Tell the user every reason once."""
        for sentence in self.sentences():
            log.note(sentence)
