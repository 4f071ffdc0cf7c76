"""Which series of an EXO run the report compares at equal KL, and which question that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.evaluation.exo.frontier import EqualKl, Frontier
from tasks.evaluation.exo.series import Series, display_name

TWINS = (("exo_pref", "dpo"), ("exo_rw", "dpo_rw"))
"""Reverse against forward KL on the same data."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two series whose rewards are compared at equal KL, and the question that this answers."""

    question: str
    """What the comparison answers, such as `EXO against DPO`."""
    ours: str
    """Name of the series that the verdict is about."""
    theirs: str
    """Name of the series that it is compared with."""
    outcome: EqualKl | None
    """The result; None where the two reach no common KL."""


def compare_series(all_series: Sequence[Series], frontier: Frontier) -> list[Comparison]:
    """Compare EXO with DPO, large with small K, and PPO and best-of-N with all others.

    Args:
        all_series: The series of the run.
        frontier: Their points under one judge.

    Returns:
        One comparison per pair, EXO against DPO first.
    """
    pairs = [
        *(("EXO against DPO", *pair) for pair in _twins(all_series)),
        *(("more responses", *pair) for pair in _sizes(all_series)),
        *(("PPO's place", *pair) for pair in _against_all(all_series, "PPO")),
        *(("best-of-N's place", *pair) for pair in _against_all(all_series, "Best-of-N")),
    ]
    return [
        Comparison(question, ours.name, theirs.name, frontier.compare(ours.name, theirs.name))
        for question, ours, theirs in pairs
    ]


def main_series(all_series: Sequence[Series]) -> list[Series]:
    """Return the first series of each family; those with other β belong to its sweep."""
    first: dict[str, Series] = {}
    for series in all_series:
        first.setdefault(series.family, series)
    return list(first.values())


def _twins(all_series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    main = main_series(all_series)
    for ours_method, theirs_method in TWINS:
        for ours in (series for series in all_series if series.first.method == ours_method):
            rivals = [
                series
                for series in all_series
                if series.first.method == theirs_method and _alike(ours, series)
            ]
            same = [series for series in rivals if _betas(series) == _betas(ours)]
            # Where the other method has other coefficients, its own first ones stand for it.
            rest = [series for series in rivals if series in main and ours in main]
            for theirs in (same or rest)[:1]:
                yield ours, theirs


def _sizes(all_series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Pair each series with that of the next smaller K, all else the same."""
    for method in ("exo_rw", "dpo_rw"):
        found = [series for series in main_series(all_series) if series.first.method == method]
        for larger in found:
            smaller = [series for series in found if _size(series) < _size(larger)]
            smaller = [series for series in smaller if _setting(series) == _setting(larger)]
            if smaller:
                yield larger, max(smaller, key=_size)


def _against_all(all_series: Sequence[Series], ours: str) -> Iterator[tuple[Series, Series]]:
    """Pair the series of one method with every series of EXO and DPO at the same τ.

    Args:
        all_series: The series of the run.
        ours: The method's name in the paper.
    """
    trained = {method for pair in TWINS for method in pair}
    main = main_series(all_series)
    for series in (series for series in main if display_name(series.first) == ours):
        for rival in main:
            same = rival.first.temperature == series.first.temperature
            if same and rival.first.method in trained:
                yield series, rival


def _alike(a: Series, b: Series) -> bool:
    return _size(a) == _size(b) and _setting(a)[:2] == _setting(b)[:2]


def _size(series: Series) -> int:
    return series.first.responses or 0


def _setting(series: Series) -> tuple[object, ...]:
    one = series.first
    return one.temperature, one.supervision, one.beta_pi, one.beta_r


def _betas(series: Series) -> tuple[object, ...]:
    return _setting(series)[2:]
