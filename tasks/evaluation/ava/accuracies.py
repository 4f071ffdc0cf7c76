"""How often the reward models of the arms are right, beside length alone (the paper's Table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.evaluation.ava.arm_lines import interval_of, verdict
from tasks.evaluation.ava.config import BASELINES, TQRS, RewardEntry
from tasks.evaluation.metrics.estimates import Estimate, mean_estimate, over_seeds
from tasks.evaluation.report.tables import Cell, Column, Table

Evaluations = Mapping[str, Mapping[str, Any]]
READINGS = ("last", "return", "logp")
"""Ways to score a response by a TQR, as `evaluate_reward_model` names them."""
_OWN = {"bradley_terry": ("last",), "preference_transformer": ("return",)}
"""Those of objectives that train one alone."""
_SET = "test"
"""The pairs that sentences are about."""


@dataclass(frozen=True, slots=True)
class RewardLine:
    """One arm's reward models, a seed each."""

    name: str
    """What tables call it."""
    entries: tuple[RewardEntry, ...]
    """Its seeds, in order."""

    @property
    def first(self) -> RewardEntry:
        """An entry with what all of them share."""
        return self.entries[0]


def reward_lines(rewards: Sequence[RewardEntry]) -> list[RewardLine]:
    """Sort reward models into lines by their names, in the order in which they first occur."""
    found: dict[str, list[RewardEntry]] = {}
    for entry in rewards:
        found.setdefault(entry.line, []).append(entry)
    return [RewardLine(name, tuple(seeds)) for name, seeds in found.items()]


def accuracy_table(lines: Sequence[RewardLine], evaluations: Evaluations) -> Table:
    """Lay out the accuracies of every line on every set of pairs, and those of length alone.

    Source:
        Table 1, arXiv 2411.09341 (AVA).
    """
    sets = list(evaluations[lines[0].first.name])
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        cells = [
            _percent(accuracy(line, evaluations, name, reading))
            for name in sets
            for reading in READINGS
        ]
        owed = [_figures(one, evaluations, _SET)["length_correlation"] for one in line.entries]
        rows.append((line.name, line.first.data, len(line.entries), *cells, float(np.mean(owed))))
    # Length needs no model: the same pairs are the same for all.
    longer = (_figures(lines[0].first, evaluations, name) for name in sets)
    shares = (Estimate(one["longer_wins"], one["longer_wins_se"], 1) for one in longer)
    cells = [cell for share in shares for cell in (_percent(share), *[None] * (len(READINGS) - 1))]
    rows.append(("always the longer answer", None, None, *cells, None))
    columns = (
        *(Column(name) for name in ("Reward model", "Learnt from", "Seeds")),
        *(Column(f"{name}, {reading} (%)") for name in sets for reading in READINGS),
        Column("Length", "+.2f"),
    )
    note = (
        "Share of held-out pairs that are ranked rightly; a tie is wrong. last: by the reward of "
        "the last action; return: by those of all; logp: by the mean log-likelihood of a token, "
        "which knows no reward. Length: correlation of the model's own score with characters on "
        f"the {_SET} pairs."
    )
    return Table("accuracies", "Table 1: reward accuracy", columns, tuple(rows), note)


def accuracy(
    line: RewardLine, evaluations: Evaluations, pairs: str, reading: str
) -> Estimate | None:
    """Return the accuracy of a line on a set of pairs, over its seeds; None without that reading.

    An objective that trains one reading has no other, and without ptq there is no likelihood.
    """
    found = [_figures(one, evaluations, pairs) for one in line.entries]
    name = f"{reading}_accuracy"
    if reading not in _OWN.get(line.first.objective, READINGS) or name not in found[0]:
        return None
    return over_seeds([Estimate(one[name], one[f"{name}_se"], 1) for one in found])


def accuracy_findings(lines: Sequence[RewardLine], evaluations: Evaluations) -> Iterator[str]:
    """Say of each whole arm of AVA how its accuracy stands to the baselines' and the ablated ones'.

    Each is measured by its own score.
    """
    for ours in (line for line in lines if line.first.objective in TQRS):
        for theirs in (line for line in lines if _meet(ours, line)):
            lead = accuracy_lead(ours, theirs, evaluations)
            ends = interval_of(lead)
            yield (
                f"accuracy of {ours.name} against {theirs.name} on the {_SET} pairs, "
                f"{lead.count} {'seeds' if lead.count > 1 else 'seed'}: "
                f"{100 * lead.value:+.1f} points (95 %: {100 * ends.low:+.1f} to "
                f"{100 * ends.high:+.1f}): {verdict(lead)}"
            )


def accuracy_lead(ours: RewardLine, theirs: RewardLine, evaluations: Evaluations) -> Estimate:
    """Return the accuracy of one line minus another's on the test pairs, paired by prompt.

    Seeds meet in their order, those of the line with fewer several times.
    """
    gaps = []
    for row in range(max(len(ours.entries), len(theirs.entries))):
        mine, others = (
            _hits(line.entries[row % len(line.entries)], evaluations) for line in (ours, theirs)
        )
        gaps.append(mean_estimate(np.subtract(mine, others)))
    return over_seeds(gaps)


def _meet(ours: RewardLine, theirs: RewardLine) -> bool:
    """Say whether two lines are compared: a whole AVA with a baseline, or with less of itself."""
    us, them = ours.first, theirs.first
    if us.data != them.data or us.ablation != "none" or ours.name == theirs.name:
        return False
    if them.objective in BASELINES:
        return True
    return them.objective == us.objective or (us.objective, them.objective) == TQRS


def _figures(entry: RewardEntry, evaluations: Evaluations, pairs: str) -> Mapping[str, float]:
    found: Mapping[str, float] = evaluations[entry.name][pairs]["figures"]
    return found


def _hits(entry: RewardEntry, evaluations: Evaluations) -> list[float]:
    """Return the share of each prompt's pairs that a reward model ranks rightly."""
    margins = evaluations[entry.name][_SET]["margins"]
    return [float(np.mean([gap > 0 for gap in row])) for row in margins]


def _percent(share: Estimate | None) -> str | None:
    if share is None:
        return None
    return f"{100 * share.value:.1f} ± {100 * share.standard_error:.1f}"
