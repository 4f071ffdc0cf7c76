"""How far annotators agree beyond chance: Cohen's kappa for two, Fleiss' for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Kappa(NamedTuple):
    """Agreement of annotators: 1 is perfect, 0 what chance alone would give."""

    value: float
    """Kappa."""
    method: str
    """`Cohen` or `Fleiss`."""
    people: int
    """Annotators."""
    items: int
    """Items that at least two of them judged."""


def kappa(votes: Mapping[str, Mapping[str, str]]) -> Kappa | None:
    """Return the agreement of annotators; None where it is undefined.

    That is with fewer than two of them on one item, and where all say the same of everything.

    Args:
        votes: The label that each annotator gave, by item and annotator.

    Source:
        Cohen (1960); Fleiss (1971), by the number of each item's own annotators.

    Example:
        >>> same = {"i": {"a": "win", "b": "win"}, "j": {"a": "lose", "b": "lose"}}
        >>> kappa(same)
        Kappa(value=1.0, method='Cohen', people=2, items=2)
    """
    shared = {item: given for item, given in votes.items() if len(given) > 1}
    people = sorted({person for given in shared.values() for person in given})
    labels = sorted({label for given in shared.values() for label in given.values()})
    if len(labels) < 2:
        return None
    if len(people) == 2:
        value = _cohen([[given[person] for given in shared.values()] for person in people])
        return Kappa(value, "Cohen", 2, len(shared))
    rows = [[list(given.values()).count(label) for label in labels] for given in shared.values()]
    return Kappa(_fleiss(np.array(rows, dtype=float)), "Fleiss", len(people), len(shared))


def _cohen(said: list[list[str]]) -> float:
    from sklearn.metrics import cohen_kappa_score  # it takes a second to load

    return float(cohen_kappa_score(*said))


def _fleiss(counts: np.ndarray) -> float:
    """Return Fleiss' kappa of counts by item and label, shape (N, L), at least two votes a row."""
    votes = counts.sum(axis=1)
    agreed = ((counts**2).sum(axis=1) - votes) / (votes * (votes - 1))
    chance = ((counts.sum(axis=0) / votes.sum()) ** 2).sum()
    return float((agreed.mean() - chance) / (1 - chance))
