"""How long gold is beside the answers that people chose: whether length alone tells them apart."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

_USUAL = 0.95
_TELLING = 0.7


@dataclass(frozen=True, slots=True)
class Lengths:
    """Gold and chosen answers by their length in characters."""

    gold: float
    """Median of gold."""
    chosen: float
    """Median of the chosen answers of the data."""
    longer_share: float
    """How often gold is the longer one of a gold and a chosen answer, equal lengths one half."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """Return it for people, with what it means for a reward model.

        Example:
            >>> Lengths(gold=300.0, chosen=100.0, longer_share=0.9).sentence().split("; ")[0]
            'gold has 300 characters in the median, the chosen answers 100'
        """
        told = (
            f"gold has {self.gold:,.0f} characters in the median, the chosen answers "
            f"{self.chosen:,.0f}; of a gold and a chosen answer gold is the longer one in "
            f"{100 * self.longer_share:.0f} of 100 cases (50: length says nothing)"
        )
        if max(self.longer_share, 1 - self.longer_share) < _TELLING:
            return told
        return f"{told}: a reward model can learn length in place of quality from it"


def lengths_of(gold: Sequence[int], chosen: Sequence[int]) -> Lengths:
    """Compare lengths; neither may be empty, and those of the chosen answers are sorted.

    Example:
        >>> lengths_of([10, 30], [5, 10, 20]).longer_share  # (1.5 + 3) / 6
        0.75
    """
    places = (bisect_left(chosen, one) + bisect_right(chosen, one) for one in gold)
    share = sum(places) / (2 * len(gold) * len(chosen))
    return Lengths(float(median(gold)), float(median(chosen)), share)


def length_bound(chosen: Sequence[int], ratio: float) -> float:
    """Return from which length on gold is out of proportion; infinite without chosen answers."""
    if not chosen:
        return math.inf
    return ratio * chosen[min(len(chosen) - 1, int(_USUAL * len(chosen)))]
