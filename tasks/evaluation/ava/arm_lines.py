"""Which contenders belong together: a line is one arm with all its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.evaluation.ava.config import AvaEntry
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tasks.evaluation.metrics.estimates import (
    Estimate,
    Interval,
    mean_estimate,
    over_seeds,
    share_interval,
)
from tasks.evaluation.report.data import scored_evaluation
from tasks.evaluation.report.headline import Contender

Evaluations = Mapping[str, Mapping[str, Any]]
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Line:
    """One arm's contenders, a seed each."""

    name: str
    """What tables call it."""
    entries: tuple[AvaEntry, ...]
    """Its seeds, in order."""

    @property
    def first(self) -> AvaEntry:
        """An entry with what all of them share."""
        return self.entries[0]


@dataclass(frozen=True, slots=True)
class Duel:
    """One line against another under one judge, as shares of all pairs of their answers."""

    win: Estimate
    """Share that ours wins."""
    tie: Estimate
    """Share whose texts or scores are equal."""
    lose: Estimate
    """Share that theirs wins."""
    identical: Estimate
    """Share whose texts are equal, a part of the ties."""
    lead: Estimate
    """Share won minus share lost."""
    prompts: int = 0
    """Prompts that both answered."""

    @property
    def interval(self) -> Interval:
        """Where the lead lies with 95 % confidence, over prompts and seeds.

        A lead that is the same at every prompt has no error to tell how sure it is: Wilson's
        interval has.
        """
        if self.lead.standard_error:
            return interval_of(self.lead)
        ends = share_interval((1 + self.lead.value) / 2, self.prompts)
        return Interval(2 * ends.low - 1, 2 * ends.high - 1)

    @property
    def verdict(self) -> str:
        """Who is ahead, as far as the interval tells."""
        ends = self.interval
        if ends.low <= 0 <= ends.high:
            return "undecided"
        return "ahead" if ends.low > 0 else "behind"


def lines_of(entries: Iterable[AvaEntry]) -> list[Line]:
    """Sort entries into lines by their names, in the order in which they first occur."""
    found: dict[str, list[AvaEntry]] = {}
    for entry in entries:
        found.setdefault(entry.line, []).append(entry)
    return [Line(name, tuple(seeds)) for name, seeds in found.items()]


def duel(ours: Line, theirs: Line, evaluations: Evaluations, judge: str) -> Duel:
    """Compare every answer of ours with every one of theirs, prompt by prompt.

    Seeds meet in their order, those of the line with fewer several times, and count alike. Equal
    texts are a tie whatever the scores, as arithmetic in batches may tell them apart.

    Raises:
        ConfigError: An entry has no evaluation, or a judge did not score it.
    """
    by_seed = []
    for row in range(max(len(ours.entries), len(theirs.entries))):
        mine, others = (
            scored_evaluation(line.entries[row % len(line.entries)].name, evaluations, judge)[
                "per_prompt"
            ]
            for line in (ours, theirs)
        )
        shared = [key for key in mine if key in others]
        found = [_shares(mine[key], others[key], judge) for key in shared]
        by_seed.append(np.array(found).reshape(-1, 4))
    columns = [[one[:, place] for one in by_seed] for place in range(4)]
    columns.append([one[:, 0] - one[:, 2] for one in by_seed])
    win, tie, lose, identical, lead = (
        over_seeds([mean_estimate(one) for one in column]) for column in columns
    )
    return Duel(win, tie, lose, identical, lead, prompts=len(by_seed[0]))


def interval_of(estimate: Estimate) -> Interval:
    """Return where the truth lies with 95 % confidence."""
    ends = (estimate.value + side * _Z * estimate.standard_error for side in (-1, 1))
    return Interval(*ends)


def verdict(lead: Estimate) -> str:
    """Say whether a lead is ahead or behind, or undecided where its 95 % interval holds 0.

    Example:
        >>> verdict(Estimate(0.3, 0.1, 5)), verdict(Estimate(0.3, 0.2, 5))
        ('ahead', 'undecided')
    """
    ends = interval_of(lead)
    if ends.low <= 0 <= ends.high:
        return "undecided"
    return "ahead" if lead.value > 0 else "behind"


def contender(line: Line, evaluations: Evaluations, judge: str) -> Contender:
    """Return a line as the headline and the summary take it: its reward by a judge, and its KL."""
    found = [scored_evaluation(one.name, evaluations, judge) for one in line.entries]
    by_prompt = [
        {key: float(np.mean(row["scores"][judge])) for key, row in one["per_prompt"].items()}
        for one in found
    ]
    reward = over_seeds([Estimate(**one["scores"][judge]) for one in found])
    return Contender(line.name, reward, by_prompt, divergence(line, found))


def divergence(line: Line, found: Sequence[Mapping[str, Any]]) -> Estimate | None:
    """Return the KL to the start; that of best-of-N is known, and that of the start is none.

    None too where it was not measured, as of a policy that draws at another temperature.
    """
    if line.first.responses:
        return Estimate(best_of_n_kl(line.first.responses), 0.0, len(found))
    if line.first.kind == "start" or not all("kl" in one for one in found):
        return None
    return over_seeds([Estimate(**one["kl"]) for one in found])


def _shares(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], judge: str
) -> tuple[float, float, float, float]:
    """Return the shares of one prompt's pairs of answers: won, tied, lost, and equal texts."""
    ours = np.array(mine["scores"][judge])[:, None]
    others = np.array(theirs["scores"][judge])[None, :]
    same = np.array(mine["texts"])[:, None] == np.array(theirs["texts"])[None, :]
    win, lose = (ours > others) & ~same, (ours < others) & ~same
    return win.mean(), (~win & ~lose).mean(), lose.mean(), same.mean()
