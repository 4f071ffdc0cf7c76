"""Which lines of an EXO run the report compares at equal KL, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.evaluation.exo.frontier import EqualKl, Frontier
from tasks.evaluation.exo.series import Line, name_of

TWINS = (("exo_pref", "dpo"), ("exo_rw", "dpo_rw"))
"""Reverse against forward KL on the same data."""


@dataclass(frozen=True, slots=True)
class Contest:
    """A question put to two lines."""

    question: str
    """What their comparison answers."""
    ours: str
    """Name of a line."""
    theirs: str
    """Name of another."""
    outcome: EqualKl | None
    """The comparison; None where they reach no common KL."""


def contests(lines: Sequence[Line], frontier: Frontier) -> list[Contest]:
    """Compare EXO with DPO, large with small K, and PPO and best-of-N with all.

    Args:
        lines: the branches.
        frontier: their points under one judge.

    Returns:
        One contest per pair, EXO against DPO first.
    """
    pairs = [
        *(("EXO against DPO", *pair) for pair in _twins(lines)),
        *(("more responses", *pair) for pair in _sizes(lines)),
        *(("PPO's place", *pair) for pair in _against_all(lines, "PPO")),
        *(("best-of-N's place", *pair) for pair in _against_all(lines, "Best-of-N")),
    ]
    return [
        Contest(question, ours.name, theirs.name, frontier.compare(ours.name, theirs.name))
        for question, ours, theirs in pairs
    ]


def main_lines(lines: Sequence[Line]) -> list[Line]:
    """Return the first line of each family: further β of a method are its sweep."""
    first: dict[str, Line] = {}
    for line in lines:
        first.setdefault(line.family, line)
    return list(first.values())


def _twins(lines: Sequence[Line]) -> Iterator[tuple[Line, Line]]:
    main = main_lines(lines)
    for ours_method, theirs_method in TWINS:
        for ours in (line for line in lines if line.first.method == ours_method):
            rivals = [
                line for line in lines if line.first.method == theirs_method and _alike(ours, line)
            ]
            same = [line for line in rivals if _betas(line) == _betas(ours)]
            # Where the other method has other coefficients, its own first ones stand for it.
            rest = [line for line in rivals if line in main and ours in main]
            for theirs in (same or rest)[:1]:
                yield ours, theirs


def _sizes(lines: Sequence[Line]) -> Iterator[tuple[Line, Line]]:
    """Pair each line with that of the next smaller K, all else the same."""
    for method in ("exo_rw", "dpo_rw"):
        found = [line for line in main_lines(lines) if line.first.method == method]
        for larger in found:
            smaller = [line for line in found if _size(line) < _size(larger)]
            smaller = [line for line in smaller if _setting(line) == _setting(larger)]
            if smaller:
                yield larger, max(smaller, key=_size)


def _against_all(lines: Sequence[Line], ours: str) -> Iterator[tuple[Line, Line]]:
    """Pair the lines of a paper's name with every line of EXO and DPO at the same τ."""
    trained = {method for pair in TWINS for method in pair}
    main = main_lines(lines)
    for line in (line for line in main if name_of(line.first) == ours):
        for rival in main:
            same = rival.first.temperature == line.first.temperature
            if same and rival.first.method in trained:
                yield line, rival


def _alike(a: Line, b: Line) -> bool:
    return _size(a) == _size(b) and _setting(a)[:2] == _setting(b)[:2]


def _size(line: Line) -> int:
    return line.first.responses or 0


def _setting(line: Line) -> tuple[object, ...]:
    one = line.first
    return one.temperature, one.supervision, one.beta_pi, one.beta_r


def _betas(line: Line) -> tuple[object, ...]:
    return _setting(line)[2:]
