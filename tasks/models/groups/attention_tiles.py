"""Which queries of packed groups are multiplied with which keys, in pieces of bounded size.

A tile has some queries, next to each other, and every key that one of them sees. A small response
joins the tile before it: a few products that the mask throws away cost less than another tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

TILE_NUMBERS = 1 << 24  # attention scores held at a time: 64 MB in float32
_SPARE_NUMBERS = 1 << 16  # scores computed for nothing that cost as much as a tile of its own
_SMALLEST = 64  # queries of a tile, at least


class Tile(NamedTuple):
    """Queries that see a past in full, and of themselves what the mask says."""

    past: tuple[tuple[int, int], ...]
    """Places of the keys before the queries, in the order of their positions."""
    start: int
    """Place of the first query."""
    stop: int
    """Place behind the last query."""
    mask: Tensor
    """0 where a query sees another's key, else minus infinity. Shape (r, r), r queries."""


class _Piece(NamedTuple):
    """A tile in the making: whole prompts and responses, or a part of one that is too long."""

    past: tuple[tuple[int, int], ...]
    start: int
    blocks: tuple[int, ...]
    """Lengths of the prompt and responses inside, in order."""
    leads: bool
    """Whether the first block is the prompt, which the others see."""

    @property
    def scores(self) -> int:
        size = sum(self.blocks)
        return size * (size + sum(stop - start for start, stop in self.past))


@lru_cache(maxsize=4)
def plan(
    edges: tuple[tuple[int, ...], ...],
    heads: int,
    window: int,
    dtype: torch.dtype,
    device: torch.device,
) -> list[list[Tile]]:
    """Cut the groups of a row into tiles, group by group; kept for all layers of a pass.

    A query looks back at most `window` positions, itself included; 0 is no limit.

    Returns:
        Per group its tiles, in the order of their places.
    """
    groups = []
    for row in edges:
        joins = not 0 < window < row[-1] - row[0]
        groups.append(
            [
                Tile(
                    piece.past,
                    piece.start,
                    piece.start + sum(piece.blocks),
                    _mask(piece, dtype, device),
                )
                for piece in _pieces(row, heads, joins)
            ]
        )
    return groups


def _pieces(row: tuple[int, ...], heads: int, joins: bool) -> Iterator[_Piece]:
    held: _Piece | None = None
    for start, stop in zip(row, row[1:], strict=False):
        if stop == start:
            continue
        leads = start == row[0]
        new = _Piece(() if leads else ((row[0], row[1]),), start, (stop - start,), leads)
        if held is not None:
            joint = held._replace(blocks=held.blocks + new.blocks)
            spare = joint.scores - held.scores - new.scores
            if joins and heads * spare <= _SPARE_NUMBERS and heads * joint.scores <= TILE_NUMBERS:
                held = joint
                continue
            yield from _cut(held, heads)
        held = new
    if held is not None:
        yield from _cut(held, heads)


def _cut(piece: _Piece, heads: int) -> Iterator[_Piece]:
    """Cut a prompt or response that is too long; what was joined never is."""
    if len(piece.blocks) > 1 or heads * piece.scores <= TILE_NUMBERS:
        yield piece
        return
    size = piece.blocks[0]
    step = max(_SMALLEST, TILE_NUMBERS * size // (heads * piece.scores))
    stop = piece.start + size
    for first in range(piece.start, stop, step):
        past = piece.past if first == piece.start else (*piece.past, (piece.start, first))
        yield _Piece(past, first, (min(step, stop - first),), piece.leads)


def _mask(piece: _Piece, dtype: torch.dtype, device: torch.device) -> Tensor:
    size = sum(piece.blocks)
    mask = torch.full((size, size), float("-inf"), dtype=dtype, device=device)
    if piece.leads:
        mask[:, : piece.blocks[0]] = 0
    at = 0
    for length in piece.blocks:
        mask[at : at + length, at : at + length].fill_(float("-inf")).triu_(1)
        at += length
    return mask
