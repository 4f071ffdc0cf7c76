"""Which checkpoints belong together: a line is a branch without its step and its seed."""

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
"""The paper's name of whatever is no trained policy."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of one method: its seeds and their checkpoints."""

    name: str
    """In legends and tables; says only what tells it from the other lines."""

    family: str
    """Shared by the lines that differ in β alone."""

    entries: tuple[ExoEntry, ...]
    """By seed, then by step."""

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


def lines_of(entries: Sequence[ExoEntry]) -> list[Line]:
    """Sort entries into lines, in the order in which they first occur.

    Args:
        entries: contenders; the start and the chosen responses belong to no line.

    Returns:
        The lines; names hold K, β, τ and supervision only where the lines of a method differ in
        them. Best-of-N is one line, whatever its N.
    """
    groups: dict[tuple[object, ...], list[ExoEntry]] = {}
    for entry in entries:
        if entry.kind in ("policy", "best_of_n"):
            groups.setdefault(_settings(entry), []).append(entry)
    lines = []
    for settings, found in groups.items():
        others = [other for other in groups if other[:2] == settings[:2]]
        ordered = sorted(found, key=lambda entry: (entry.seed, entry.step, entry.responses or 0))
        family = _name(found[0], others, _OUTER)
        lines.append(Line(_name(found[0], others, _OUTER + _BETAS), family, tuple(ordered)))
    return lines


def name_of(entry: ExoEntry) -> str:
    """Return the paper's name of an entry's method or kind."""
    return KINDS.get(entry.kind) or NAMES.get(entry.method, entry.method)


_OUTER: tuple[tuple[int, str], ...] = ((2, " K={}"), (3, " τ={:g}"), (4, ", {}"))
_BETAS: tuple[tuple[int, str], ...] = ((5, " β_π={:g}"), (6, " β_r={:g}"))


def _settings(entry: ExoEntry) -> tuple[object, ...]:
    """Return what the entries of one line share; the N of best-of-N is its step."""
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
    name = name_of(entry)
    mine = _settings(entry)
    for place, text in parts:
        differs = len({other[place] for other in others}) > 1
        # K is part of what a K-wise method is called in the paper, even where there is only one.
        if mine[place] is not None and (differs or place == 2):
            name += text.format(mine[place])
    return name
