"""The pairs of groups as AVA-p takes them, where a group may have more than two responses.

All ordered pairs count, and what is learnt of a response by itself counts once: where it is the
better one in c of its n pairs, by c / n as a chosen and by 1 - c / n as a rejected response.

B groups, K responses, T positions, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from tasks.objectives.ava import AvaTerms, ava_p

Positions = Mapping[str, Mapping[str, Fraction]]
"""Of a step, by side: how many there are of each of `KINDS`."""
KINDS = ("actions", "irl", "kl")
"""What is counted: likelihoods, temporal-difference errors, rewards that the prior pulls on."""
_SIDES = ("chosen", "rejected")


class Pairs(NamedTuple):
    """Every two responses of a group with different scores; shape (P,) but for the last."""

    group: Tensor
    """The group, in [0, B)."""
    chosen: Tensor
    """The better response, in [0, K)."""
    rejected: Tensor
    """The other one."""
    shared: Tensor
    """In how many pairs each response is. Shape (B, K)."""

    def sides(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what chosen and rejected responses have, of values of shape (B, K, …)."""
        return values[self.group, self.chosen], values[self.group, self.rejected]


def pairs_of(scores: Tensor, mask: Tensor) -> Pairs:
    """Return the ordered pairs of groups.

    Args:
        scores: Of each response; only their order counts. Shape (B, K).
        mask: Which slots hold a response. Bool, shape (B, K).

    Example:
        >>> pairs = pairs_of(torch.tensor([[1, 3, 1]]), torch.tensor([[True, True, True]]))
        >>> pairs.chosen, pairs.rejected, pairs.shared
        (tensor([1, 1]), tensor([0, 2]), tensor([[1, 2, 1]]))
    """
    real = mask.unsqueeze(2) & mask.unsqueeze(1)
    ordered = real & (scores.unsqueeze(2) > scores.unsqueeze(1))
    group, chosen, rejected = ordered.nonzero().unbind(-1)
    return Pairs(group, chosen, rejected, ordered.sum(dim=1) + ordered.sum(dim=2))


def add_counts(counts: dict[str, int], pairs: Pairs, sizes: list[tuple[int, ...]]) -> None:
    """Add a group's pairs to a step's counts, as `positions_of` reads them.

    `chosen/irl/2` are the IRL positions of chosen sides whose response is in two pairs, counted
    pair by pair.

    Args:
        counts: What is added to.
        pairs: Of one group.
        sizes: How many of each of `KINDS` each of its responses has.
    """
    counts["pairs"] = counts.get("pairs", 0) + len(pairs.group)
    for side in _SIDES:
        for place in getattr(pairs, side).tolist():
            for what, size in zip(KINDS, sizes[place], strict=True):
                name = f"{side}/{what}/{int(pairs.shared[0, place])}"
                counts[name] = counts.get(name, 0) + size


def positions_of(counts: Mapping[str, int]) -> Positions:
    """Return the positions of a step by side and kind, each response's once, of its counts."""
    return {side: {what: _once(counts, f"{side}/{what}/") for what in KINDS} for side in _SIDES}


def denominators(
    positions: Positions, reduction: Literal["mean", "sum"], groups: int
) -> tuple[Positions, float]:
    """Return what the objectives divide their sums by, and what their result is multiplied with.

    Args:
        positions: Of a step, by side and kind.
        reduction: `mean` over the positions of each side and kind; or `sum` over them, and the mean
            over groups: all are divided by one number, which is multiplied back.
        groups: Of the step.
    """
    if reduction == "mean":
        return positions, 1.0
    found = [size for sizes in positions.values() for size in sizes.values()]
    most = sum(found, start=Fraction(0))
    same = {side: dict.fromkeys(sizes, most) for side, sizes in positions.items()}
    return same, float(most / groups)


def ava_p_of_pairs(
    terms: AvaTerms, pairs: Pairs, sizes: Positions, irl: str = "irl", **options: Any
) -> Tensor:
    """Return `ava_p` of the pairs of groups, each response once.

    Args:
        terms: Of every response. Shapes (B, K, T).
        pairs: Of the groups.
        sizes: What the sums of the step are divided by, by side and kind.
        irl: The kind that `terms.irl_mask` shows.
        **options: Weights and switches of `ava_p`.

    Returns:
        The share of the step's loss. Shape ().
    """
    times_of = pairs.sides(pairs.shared)
    found = terms.q.new_zeros(())
    for times in torch.cat(times_of).unique().tolist():
        # A response in n pairs is taken n times, and each time counts an nth.
        both = zip(*(pairs.sides(part) for part in terms), strict=True)
        sides = [
            AvaTerms(*(part[own == times] for part in parts))
            for parts, own in zip(both, times_of, strict=True)
        ]
        counts = {
            side: {"actions": float(times * of["actions"]), "irl": float(times * of[irl])}
            for side, of in sizes.items()
        }
        found = found + ava_p(*sides, counts=counts, **options)
    return found


def _once(counts: Mapping[str, int], start: str) -> Fraction:
    """The positions of a step, each response's once; exact, as rounding would lose some."""
    return sum(
        (
            Fraction(count, int(name.removeprefix(start)))
            for name, count in counts.items()
            if name.startswith(start)
        ),
        start=Fraction(0),
    )
