"""Which checkpoints belong together: a series is one setting of a method, all seeds and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.evaluation.exo.config import ExoEntry, MethodFacts

KINDS = {"start": "start", "chosen": "chosen"}
"""What the report calls each kind of contender that no method made: as the run does."""
_SIZE, _TAU = " K={}", " τ={:g}"


@dataclass(frozen=True, slots=True)
class Series:
    """One setting of one method: its seeds and their checkpoints."""

    name: str
    """What legends and tables call it; says only what tells it from the other series."""

    family: str
    """The name without β: shared by the series that differ in β alone."""

    entries: tuple[ExoEntry, ...]
    """Its checkpoints by seed, then by step."""

    facts: MethodFacts
    """What its method is."""

    @property
    def title(self) -> str:
        """What the report calls the method."""
        return self.facts.title or self.first.method

    @property
    def is_trained(self) -> bool:
        """Whether its entries are checkpoints of policies, rather than picked samples."""
        return self.first.kind == "policy"

    @property
    def first(self) -> ExoEntry:
        """An entry with the settings that all of them share."""
        return self.entries[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(dict.fromkeys(entry.seed for entry in self.entries))

    @property
    def last(self) -> tuple[ExoEntry, ...]:
        """The last checkpoint of each seed; of best-of-N the largest N."""
        branches = [self.of_seed(seed) for seed in self.seeds]
        return tuple(([one for one in found if one.is_last] or found)[-1] for found in branches)

    def of_seed(self, seed: int) -> tuple[ExoEntry, ...]:
        """Return one seed's checkpoints in the order of their steps."""
        return tuple(entry for entry in self.entries if entry.seed == seed)


def series_of(entries: Sequence[ExoEntry], methods: Mapping[str, MethodFacts]) -> list[Series]:
    """Sort entries into series, in the order in which they first occur.

    Args:
        entries: All contenders; the start and the chosen responses belong to no series.
        methods: What each method is, by name.

    Returns:
        The series; names hold K, coefficients, τ and supervision only where the series of a method
        differ in them, and τ only where it is not the start's. Best-of-N is one series, whatever
        its N.
    """
    usual = next((one.temperature for one in entries if one.kind == "start"), None)
    groups: dict[tuple[object, ...], list[ExoEntry]] = {}
    for entry in (one for one in entries if one.method):
        settings = _settings(entry, methods[entry.method])
        groups.setdefault((entry.method, *settings.values()), []).append(entry)
    found = []
    for alike in groups.values():
        first, facts = alike[0], methods[alike[0].method]
        rivals = [_settings(one, facts) for one in entries if one.method == first.method]
        ordered = sorted(alike, key=lambda entry: (entry.seed, entry.step, entry.responses or 0))
        mine, title = _settings(first, facts), facts.title or first.method
        parts = [
            "" if (text, value) == (_TAU, usual) else _part(text, value, rivals)
            for text, value in mine.items()
        ]
        family = "".join([title, *parts[: len(parts) - len(facts.symbols)]])
        found.append(Series("".join([title, *parts]), family, tuple(ordered), facts))
    return found


def _settings(entry: ExoEntry, facts: MethodFacts) -> dict[str, object]:
    """Return what the entries of one series share, by how a name says it: coefficients last."""
    return {
        # The N of best-of-N is its step.
        _SIZE: entry.responses if entry.kind == "policy" else None,
        _TAU: entry.temperature,
        ", {}": entry.supervision,
        **{
            f" {symbol}={{:g}}": entry.coefficients.get(key)
            for key, symbol in facts.symbols.items()
        },
    }


def _part(text: str, value: object, others: Sequence[Mapping[str, object]]) -> str:
    """Return what a name says of one setting; nothing where all others have it too."""
    differs = len({other[text] for other in others}) > 1
    # K is part of what a K-wise method is called in the paper, even where there is only one.
    return text.format(value) if value is not None and (differs or text == _SIZE) else ""
