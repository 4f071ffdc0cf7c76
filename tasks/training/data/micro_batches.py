"""One optimiser step cut into forward passes of at most so many tokens, as many on every rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from torch import Tensor

from tasks.models.groups.group_model import Batch
from tasks.models.groups.packing import fill_rows, group_tokens
from tasks.models.tokens.encoding import EncodedGroup
from tasks.training.data.encoded import EncodedFolder
from tasks.training.task import MicroBatch


class Piece(NamedTuple):
    """What one forward pass of one rank computes."""

    data_set: str
    """Which of the training's data sets the rows are from."""
    rows: list[int]
    """Rows of that data set, at least one."""
    counts: bool
    """False: another rank has this row already; it only keeps the number of passes equal, because
    ranks that share weights or gradients must all take part in every pass."""


def share_out(sizes: Sequence[int], budget: int, ranks: int) -> list[list[list[int]]]:
    """Cut items into passes of at most ``budget`` tokens, the same number for every rank.

    There are as few passes as first-fit decreasing needs, filled evenly rather than to the brim.

    Args:
        sizes: Tokens of each item. One larger than the budget has a pass of its own.
        budget: Tokens of one pass.
        ranks: How many processes share the items.

    Returns:
        Per rank its passes, largest first, each a list of indices in ascending order; empty where
        there are fewer items than passes.

    Example:
        >>> share_out([5, 3, 4, 2], budget=7, ranks=2)
        [[[0, 3]], [[1, 2]]]
    """
    tight = fill_rows(sizes, budget)
    passes = ceil(len(tight) / ranks) * ranks
    even = _spread(sizes, passes)
    fits = max((_load(items, sizes) for items in even), default=0) <= budget
    filled = even if fits else tight + [[] for _ in range(passes - len(tight))]
    filled.sort(key=lambda items: (-_load(items, sizes), items))
    shares: list[list[list[int]]] = [[] for _ in range(ranks)]
    for turn in range(0, passes, ranks):
        turned = filled[turn : turn + ranks]
        # To and fro, so that no rank gets the largest of every turn.
        for share, items in zip(
            shares, turned if turn // ranks % 2 == 0 else turned[::-1], strict=True
        ):
            share.append(sorted(items))
    return shares


def pieces_of(
    indices: Mapping[str, Sequence[int]],
    sizes: Mapping[str, Sequence[int]],
    budget: int,
    rank: int,
    ranks: int,
) -> list[Piece]:
    """Return the forward passes of one rank in one optimiser step, of at most `budget` tokens each.

    `indices` are the rows of the step, per data set, `sizes` the tokens of every row.
    """
    pieces = []
    for name, rows in indices.items():
        tokens = [int(sizes[name][row]) for row in rows]
        for items in share_out(tokens, budget, ranks)[rank]:
            chosen = items or [min(range(len(rows)), key=lambda item: (tokens[item], item))]
            pieces.append(Piece(name, [rows[item] for item in chosen], bool(items)))
    return pieces


def _spread(sizes: Sequence[int], passes: int) -> list[list[int]]:
    """Put the largest item left into the lightest pass until none is left."""
    filled: list[list[int]] = [[] for _ in range(passes)]
    loads = [0] * passes
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        lightest = loads.index(min(loads))
        filled[lightest].append(item)
        loads[lightest] += sizes[item]
    return filled


def _load(items: Sequence[int], sizes: Sequence[int]) -> int:
    return sum(sizes[item] for item in items)


def read_micro_batch(
    name: str,
    groups: EncodedFolder,
    rows: Sequence[int],
    layout: Callable[[Sequence[EncodedGroup]], Batch],
    reference: Tensor | None = None,
) -> MicroBatch:
    """Read some groups of a data set, with their scores, as one forward pass takes them.

    `reference` has the log-probability of every response of the data set under the reference, nats,
    shape (R,); None where the objective needs none.
    """
    encoded = [groups.encoded(row) for row in rows]
    return MicroBatch(
        name,
        tuple(rows),
        tuple(groups.name(row) for row in rows),
        layout(encoded),
        groups.scores(rows),
        reference_logps=None if reference is None else groups.per_slot(reference, rows),
        tokens=sum(map(group_tokens, encoded)),
    )
