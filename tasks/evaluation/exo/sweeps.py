"""Lines that differ in one coefficient alone, and how each fares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.points import Shares, shares_against
from tasks.evaluation.exo.series import KINDS, Line

COEFFICIENTS = {"beta_pi": "β_π", "beta_r": "β_r"}
Sweep = dict[float, dict[str, Shares]]


def sweeps_of(
    lines: Sequence[Line],
    opponents: Sequence[ExoEntry],
    evaluations: Mapping[str, Any],
    judge: str,
) -> dict[str, Sweep]:
    """Return the win rates along every coefficient that was varied, the other held.

    Args:
        lines: the branches.
        opponents: the start, and the chosen responses if there are any.
        evaluations: by entry name.
        judge: who decides.

    Returns:
        By title, such as `EXO-rw K=4: β_π (β_r = 0.1)`: β -> opponent -> shares of the line's last
        checkpoints. A coefficient with a single value is no sweep.
    """
    groups: dict[str, list[tuple[float, Line]]] = {}
    for line in lines:
        for field, symbol in COEFFICIENTS.items():
            held = next(other for other in COEFFICIENTS if other != field)
            value, rest = getattr(line.first, field), getattr(line.first, held)
            if value is None:
                continue
            title = f"{line.family}: {symbol}"
            if rest is not None:
                title += f" ({COEFFICIENTS[held]} = {rest:g})"
            groups.setdefault(title, []).append((value, line))
    return {
        title: {value: _against(line, opponents, evaluations, judge) for value, line in found}
        for title, found in groups.items()
        if len(found) > 1
    }


def _against(
    line: Line, opponents: Sequence[ExoEntry], evaluations: Mapping[str, Any], judge: str
) -> dict[str, Shares]:
    return {
        KINDS[rival.kind]: shares_against(line.last, rival, evaluations, judge)
        for rival in opponents
    }
