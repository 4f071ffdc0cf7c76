"""Which checkpoints belong together: a series is one setting of a method, all seeds and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.evaluation.exo.config import ExoEntry

NAMES = {
    "exo_pref": "EXO-pref",
    "exo_rw": "EXO-rw",
    "dpo": "DPO-pref",
    "dpo_rw": "DPO-rw",
    "ppo": "PPO",
    "sft": "SFT on chosen",
}
"""The paper's name of each method."""
KINDS = {"start": "SFT", "chosen": "chosen", "best_of_n": "Best-of-N"}
"""The paper's name of each kind of contender that is no trained policy."""


@dataclass(frozen=True, slots=True)
class Series:
    """One setting of one method: its seeds and their checkpoints."""

    name: str
    """What legends and tables call it; says only what tells it from the other series."""

    family: str
    """The name without β: shared by the series that differ in β alone."""

    entries: tuple[ExoEntry, ...]
    """Its checkpoints by seed, then by step."""

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


def series_of(entries: Sequence[ExoEntry]) -> list[Series]:
    """Sort entries into series, in the order in which they first occur.

    Args:
        entries: All contenders; the start and the chosen responses belong to no series.

    Returns:
        The series; names hold K, β, τ and supervision only where the series of a method differ in
        them. Best-of-N is one series, whatever its N.
    """
    groups: dict[tuple[object, ...], list[ExoEntry]] = {}
    for entry in entries:
        if entry.kind in ("policy", "best_of_n"):
            groups.setdefault(_settings(entry), []).append(entry)
    found = []
    for settings, alike in groups.items():
        others = [other for other in groups if other[:2] == settings[:2]]
        ordered = sorted(alike, key=lambda entry: (entry.seed, entry.step, entry.responses or 0))
        family = _name(alike[0], others, _OUTER)
        found.append(Series(_name(alike[0], others, _OUTER + _BETAS), family, tuple(ordered)))
    return found


def display_name(entry: ExoEntry) -> str:
    """Return the paper's name of an entry's method or kind."""
    return KINDS.get(entry.kind) or NAMES.get(entry.method, entry.method)


_OUTER: tuple[tuple[int, str], ...] = ((2, " K={}"), (3, " τ={:g}"), (4, ", {}"))
_BETAS: tuple[tuple[int, str], ...] = ((5, " β_π={:g}"), (6, " β_r={:g}"))


def _settings(entry: ExoEntry) -> tuple[object, ...]:
    """Return what the entries of one series share; the N of best-of-N is its step."""
    return (
        entry.kind,
        entry.method,
        None if entry.kind == "best_of_n" else entry.responses,
        entry.temperature,
        entry.supervision,
        entry.beta_pi,
        entry.beta_r,
    )


def _name(
    entry: ExoEntry, others: Sequence[tuple[object, ...]], parts: tuple[tuple[int, str], ...]
) -> str:
    name = display_name(entry)
    mine = _settings(entry)
    for place, text in parts:
        differs = len({other[place] for other in others}) > 1
        # K is part of what a K-wise method is called in the paper, even where there is only one.
        if mine[place] is not None and (differs or place == 2):
            name += text.format(mine[place])
    return name
