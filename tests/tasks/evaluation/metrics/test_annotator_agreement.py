"""Kappa by published and hand-computed values."""

from __future__ import annotations

import pytest

from tasks.evaluation.metrics.annotator_agreement import kappa

TWO = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
FLEISS = (
    "0 0 0 0 14, 0 2 6 4 2, 0 0 3 5 6, 0 3 9 2 0, 2 2 8 1 1, "
    "7 7 0 0 0, 3 2 6 3 0, 2 5 3 2 2, 6 5 2 1 0, 0 2 2 3 7"
)
"""Ten subjects, fourteen raters, five categories: the example of Fleiss' kappa, 0.210."""


def test_two_people_are_compared_by_cohen() -> None:
    """They agree on 35 of 50, 0.7; by chance on 0.5 · 0.6 + 0.5 · 0.4 = 0.5: (0.7 − 0.5) / 0.5."""
    pairs = [said for said, count in TWO.items() for _ in range(count)]
    found = kappa({str(n): {"anna": a, "ben": b} for n, (a, b) in enumerate(pairs)})
    assert found is not None and (found.method, found.people, found.items) == ("Cohen", 2, 50)
    assert found.value == pytest.approx(0.4)


def test_more_people_are_compared_by_fleiss() -> None:
    votes = {}
    for subject, row in enumerate(FLEISS.split(", ")):
        labels = [str(label) for label, n in enumerate(row.split()) for _ in range(int(n))]
        votes[str(subject)] = {f"rater {n}": label for n, label in enumerate(labels)}
    found = kappa(votes)
    assert found is not None and (found.method, found.people, found.items) == ("Fleiss", 14, 10)
    assert found.value == pytest.approx(0.20993, abs=1e-5)


def test_it_is_undefined_where_nothing_can_differ() -> None:
    assert kappa({}) is None
    assert kappa({"i": {"anna": "win"}, "j": {"ben": "lose"}}) is None
    assert kappa({"i": {"anna": "tie", "ben": "tie"}}) is None


def test_items_of_one_person_do_not_count() -> None:
    """Fleiss by hand: agreement (1/3 + 1) / 2 = 2/3, chance (5/6)² + (1/6)² = 13/18: −0.2."""
    votes = {
        "i": {"a": "win", "b": "win", "c": "lose"},
        "j": {"a": "win", "b": "win", "d": "win"},
        "k": {"a": "lose"},
    }
    found = kappa(votes)
    assert found is not None and found.items == 2
    assert found.value == pytest.approx(-0.2)
