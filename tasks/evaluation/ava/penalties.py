"""The oracle's penalties token by token: what a token costs, in points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from tasks.evaluation.metrics.rank_correlation import RankCorrelation, rank_correlation

if TYPE_CHECKING:
    from tasks.data.playground.oracle import Fault


def penalties_of(texts: Sequence[str], response: str, faults: Sequence[Fault]) -> list[float]:
    """Share the points of every fault among the tokens that it touches.

    Args:
        texts: The text of each token; together the response, perhaps behind a space.
        response: As the oracle saw it.
        faults: With their places in the response; what no token touches counts for none.

    Returns:
        Points that each token costs, 0 or more.

    Example:
        >>> from tasks.data.playground.oracle import Fault
        >>> penalties_of([" you", " id", "iot"], "you idiot", [Fault(4, 9, 1.0)])
        [0.0, 0.5, 0.5]
    """
    whole = "".join(texts)
    shift = _indent(whole) - _indent(response)
    ends = list(accumulate(map(len, texts)))
    starts = [0, *ends[:-1]]
    points = [0.0] * len(texts)
    for fault in faults:
        first, last = fault.start + shift, fault.end + shift
        touched = [
            place
            for place, (start, end) in enumerate(zip(starts, ends, strict=True))
            if start + _indent(texts[place]) < last and end > first and texts[place].strip()
        ]
        for place in touched:
            points[place] += fault.points / len(touched)
    return points


def correlations(
    means: Sequence[Sequence[float]],
    penalties: Sequence[Sequence[float]],
    *,
    shuffles: int,
    seed: int,
) -> dict[str, RankCorrelation]:
    """Correlate rewards with what tokens do not cost, at both tokens that a reward may stand for.

    Args:
        means: Mean reward of each position of each response, its end included.
        penalties: Points that each token costs; one fewer than positions.
        shuffles: Of the control.
        seed: Of the shuffles.

    Returns:
        `seen`: with the token before the reward, x[j], the last one that it has seen; `next`:
        with that after it, x[j+1], which it rewards. Positive where rewards are low on penalties.
    """
    worth = [[-points for points in row] for row in penalties]
    views = {"seen": [row[1:] for row in means], "next": [row[:-1] for row in means]}
    return {
        name: rank_correlation(rows, worth, shuffles=shuffles, seed=seed)
        for name, rows in views.items()
    }


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
