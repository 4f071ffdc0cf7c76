"""What became of the records of sources: read in which form, and what of them nobody read."""

from __future__ import annotations

from collections import Counter


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
