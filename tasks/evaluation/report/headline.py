"""The headline of a report: who won, by how much, at what KL; and the table that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.evaluation.metrics.estimates import Estimate, mean_estimate, over_seeds
from tasks.evaluation.metrics.judge_accuracy import JudgeAccuracy
from tasks.evaluation.report.tables import Cell, Column, Table

SUMMARY = "summary"
"""The key of the table among those of a report."""
_NAMED = 4
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy that could be used: where training began, or where a line of it ended."""

    name: str
    """What the report calls it."""
    reward: Estimate
    """Its mean reward by the judge."""
    by_prompt: Sequence[Mapping[str, float]]
    """Per seed, the mean reward of its responses to each test prompt."""
    kl: Estimate | None
    """KL to the start, nats per response; None for the start itself."""


def headline(
    contenders: Sequence[Contender], judge: str, accuracies: Sequence[JudgeAccuracy] = ()
) -> str:
    """Say who won, by how much over the next one, and how far from the start, as one sentence.

    A lead whose 95 % interval holds 0 is called undecided; it is paired by test prompt. So is every
    lead by a judge in doubt, and a second sentence says why. Another names those of whom it is
    undecided whether they are better or worse than the start, the first of the contenders.

    Args:
        contenders: The start and whatever was trained from it.
        judge: Whose rewards they are.
        accuracies: How often judges were right, this one among them if it was measured.
    """
    first, *others = _ranked(contenders)
    doubt = next((one.doubt for one in accuracies if one.judge == judge), "")
    warning = f". But {doubt}" if doubt else ""
    if not others:
        told = f"{first.name} has a {judge} reward of {first.reward.value:.3f}; nothing to compare"
        return told + warning
    lead = lead_of(first, others[0])
    low, high = (lead.value + side * _Z * lead.standard_error for side in (-1, 1))
    has_interval = len(first.by_prompt[0]) > 1
    is_won = has_interval and low > 0 and not doubt
    interval = f"95 %: {low:+.3f} to {high:+.3f}" if has_interval else "of a single test prompt"
    told = (
        f"{first.name} {'wins' if is_won else 'leads'} by {lead.value:.3f} {judge} reward "
        f"({interval}) over {others[0].name}, {_distances(first, others[0])}"
    )
    open_ones = [] if doubt else [one.name for one in _undecided(contenders, first, others[0])]
    more = f". Undecided against {contenders[0].name}: {_few(open_ones)}" if open_ones else ""
    return f"{told}{more}" if is_won else f"undecided: {told}{warning}{more}"


def summary_table(contenders: Sequence[Contender], judge: str) -> Table:
    """Lay out every contender, the best first; the first of those given is the start."""
    start = contenders[0]
    rows: list[tuple[Cell, ...]] = [
        (
            one.name,
            _shown(one.reward),
            None if one is start else _shown(lead_of(one, start), "+.3f"),
            None if one.kl is None else _shown(one.kl),
        )
        for one in _ranked(contenders)
    ]
    names = ("Policy", f"{judge} reward", "over start", "KL, nats")
    note = "What is over the start is paired by test prompt."
    return Table(SUMMARY, "Summary", tuple(map(Column, names)), tuple(rows), note)


def lead_of(first: Contender, second: Contender) -> Estimate:
    """Return the mean reward of the first minus that of the second, over the prompts of both."""
    seeds = max(len(first.by_prompt), len(second.by_prompt))
    gaps = []
    for seed in range(seeds):
        ours = first.by_prompt[seed % len(first.by_prompt)]
        theirs = second.by_prompt[seed % len(second.by_prompt)]
        gaps.append(mean_estimate([ours[key] - theirs[key] for key in ours if key in theirs]))
    return over_seeds(gaps)


def _undecided(
    contenders: Sequence[Contender], first: Contender, second: Contender
) -> Iterator[Contender]:
    """Yield whose lead over the start is not decided, but for the two whose lead is told anyway."""
    start, *trained = contenders
    for one in trained:
        if {id(one), id(start)} == {id(first), id(second)}:
            continue
        lead = lead_of(one, start)
        if abs(lead.value) <= _Z * lead.standard_error or len(one.by_prompt[0]) < 2:
            yield one


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _ranked(contenders: Sequence[Contender]) -> list[Contender]:
    return sorted(contenders, key=lambda one: -one.reward.value)


def _distances(first: Contender, second: Contender) -> str:
    ours, theirs = (one.kl and f"at KL {one.kl.value:.2f} nats" for one in (first, second))
    if ours and theirs:
        return f"{ours} ({second.name}: {theirs})"
    return f"{ours} from it" if ours else f"which is {theirs} from it"


def _shown(estimate: Estimate, spec: str = ".3f") -> str:
    return f"{estimate.value:{spec}} ± {estimate.standard_error:.3f}"
