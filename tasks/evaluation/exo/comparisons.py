"""Which series of an EXO run the report compares at equal KL, and which question that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.evaluation.exo.frontier import EqualKl, Frontier
from tasks.evaluation.exo.series import Series


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two series whose rewards are compared at equal KL, and the question that this answers."""

    kind: Literal["rival", "size", "baseline"]
    """Another loss on the same data, a smaller K, or a baseline against one of the others."""
    ours: str
    """Name of the series that the verdict is about."""
    theirs: str
    """Name of the series that it is compared with."""
    subject: str
    """What the report calls the method that the verdict is about."""
    question: str
    """What the comparison answers, such as `EXO-rw against DPO-rw`."""
    outcome: EqualKl | None
    """The result; None where the two reach no common KL."""


def compare_series(all_series: Sequence[Series], frontier: Frontier) -> list[Comparison]:
    """Compare each method with its rivals, large with small K, and the baselines with the rest."""
    return [
        *(
            _compare(frontier, "rival", f"{ours.title} against {theirs.title}", ours, theirs)
            for ours, theirs in _rivals(all_series)
        ),
        *(
            _compare(frontier, "size", "more responses", ours, theirs)
            for ours, theirs in _sizes(all_series)
        ),
        *(
            _compare(frontier, "baseline", f"{ours.title}'s place", ours, theirs)
            for ours, theirs in _baselines(all_series)
        ),
    ]


def main_series(all_series: Sequence[Series]) -> list[Series]:
    """Return the first series of each family; those with other β belong to its sweep."""
    first: dict[str, Series] = {}
    for series in all_series:
        first.setdefault(series.family, series)
    return list(first.values())


def _compare(
    frontier: Frontier,
    kind: Literal["rival", "size", "baseline"],
    question: str,
    ours: Series,
    theirs: Series,
) -> Comparison:
    outcome = frontier.compare(ours.name, theirs.name)
    return Comparison(kind, ours.name, theirs.name, ours.title, question, outcome)


def _rivals(all_series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Pair each series with one of each rival method at the same K and τ."""
    main = main_series(all_series)
    for ours in all_series:
        for method in ours.facts.rivals:
            found = [one for one in all_series if one.first.method == method and _alike(ours, one)]
            same = [one for one in found if one.first.coefficients == ours.first.coefficients]
            # Where the rival has other coefficients, its own first ones stand for it.
            rest = [one for one in found if one in main and ours in main]
            for theirs in (same or rest)[:1]:
                yield ours, theirs


def _sizes(all_series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Pair each series with that of the next smaller K, all else the same."""
    found = [one for one in main_series(all_series) if one.is_trained]
    for larger in found:
        smaller = [
            one
            for one in found
            if one.first.method == larger.first.method
            and one.first.coefficients == larger.first.coefficients
            and _setting(one) == _setting(larger)
            and _size(one) < _size(larger)
        ]
        if smaller:
            yield larger, max(smaller, key=_size)


def _baselines(all_series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Pair each baseline with every method of its τ that learns from preferences or rewards."""
    main = main_series(all_series)
    for ours in (series for series in main if series.facts.is_baseline):
        for theirs in main:
            learns = theirs.facts.learns_from != "demonstrations" and not theirs.facts.is_baseline
            if learns and theirs.first.temperature == ours.first.temperature:
                yield ours, theirs


def _alike(a: Series, b: Series) -> bool:
    return _size(a) == _size(b) and _setting(a) == _setting(b)


def _size(series: Series) -> int:
    return series.first.responses or 0


def _setting(series: Series) -> tuple[object, ...]:
    return series.first.temperature, series.first.supervision
