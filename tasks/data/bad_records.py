"""Records that cannot be read, gathered by reason: each reason is said once, with a count."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.data.sources.reader import BadRecord
from tasks.settings.log import Log

_OWN_WORDS = re.compile(r"“[^”]*”|'[^']*'|\d+")
"""What differs between records of one kind: their words, their names, their numbers."""
_MOST_REASONS = 8


class BadRecords:
    """Counts unreadable records by reason and keeps the first of each.

    Example:
        >>> bad = BadRecords()
        >>> for line in (3, 7):
        ...     bad.add(BadRecord("a.jsonl", line, f"not JSON: Extra data at character {line}"))
        >>> list(bad.sentences())
        ['left out 2 records, the first a.jsonl:3: not JSON: Extra data at character 3']
    """

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self._kinds: dict[str, tuple[int, BadRecord]] = {}

    def add(self, record: BadRecord) -> None:
        """Count one."""
        self.count += 1
        kind = _OWN_WORDS.sub("…", record.reason)
        count, first = self._kinds.get(kind, (0, record))
        self._kinds[kind] = count + 1, first

    def reasons(self) -> list[tuple[int, BadRecord]]:
        """Return the count and the first record of each reason, the most frequent reason first."""
        return sorted(self._kinds.values(), key=lambda kind: -kind[0])

    def sentences(self) -> Iterator[str]:
        """Yield one sentence per reason, the most frequent first."""
        kinds = self.reasons()
        for count, first in kinds[:_MOST_REASONS]:
            yield (
                f"left out {count:,} records, the first {first}"
                if count > 1
                else (f"left out {first}")
            )
        if others := kinds[_MOST_REASONS:]:
            rest = sum(count for count, _ in others)
            yield f"left out {rest:,} records for {len(others)} further reasons"

    def say(self, log: Log) -> None:
        """Tell the user every reason once."""
        for sentence in self.sentences():
            log.note(sentence)
