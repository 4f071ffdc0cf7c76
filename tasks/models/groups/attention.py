"""Attention inside packed groups: a token sees its own prompt and its own response, nothing else.

Tiles of plain matrix products (`attention_tiles.py`), called through transformers' attention
interface: nothing is computed between groups. `attention_masks.py` has the masks of attention that
is not ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.groups.attention_tiles import Tile, plan

GROUPED = "sparring_groups"


def register() -> None:
    """Make the attention known to transformers under the name `GROUPED`; may be called again."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(GROUPED, _attention)
    # Calls without groups (plain passes, generation) are transformers' own.
    AttentionMaskInterface.register(GROUPED, sdpa_mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    groups: Tensor | None = None,
    owners: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The function transformers calls. Query (1, H, N, D), key and value (1, H', N, D).

    With `groups`, the edges of a packed row, it is ours; else transformers' own. `owners` (R,) says
    which of the keys' rows belongs to each of R rows of queries.
    """
    if groups is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if owners is not None and len(key) != len(query):
            # Attention to the prompts of an encoder, one per group: each response takes its own.
            key, value = key[owners], value[owners]
            attention_mask = None if attention_mask is None else attention_mask[owners]
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    unknown = [name for name in ("s_aux", "position_bias") if kwargs.get(name) is not None]
    if unknown or dropout:
        raise NotImplementedError(f"grouped attention has no {', '.join(unknown) or 'dropout'}")
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else value.dtype
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    out = _grouped(
        query.to(dtype).squeeze(0),
        key.to(dtype).squeeze(0),
        value.to(dtype).squeeze(0),
        groups,
        scale,
        sliding_window or 0,
        softcap or 0.0,
    )
    return out.transpose(0, 1).unsqueeze(0), None


@torch.library.custom_op("sparring::grouped", mutates_args=())
def _grouped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edges: Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> Tensor:
    """Attend tile by tile. Query (H, N, D), key and value (H', N, D); H a multiple of H'."""
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    for tiles in _plan(query, edges, window):
        for tile in tiles:
            probs, *_ = _probabilities(tile, query, key, scale, window, softcap)
            found = torch.bmm(probs, _gather(value, tile))
            out[:, tile.start : tile.stop] = found.view(query.shape[0], -1, query.shape[2])
    return out


@_grouped.register_fake
def _(query: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@torch.library.custom_op("sparring::grouped_backward", mutates_args=())
def _grouped_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edges: Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, tile by tile.

    It exists because autograd would keep the probabilities of every tile until the backward pass,
    which is what a padded row costs. Here one tile's are computed again, used and forgotten.

    With P = softmax(S), O = P V and a gradient G of O, per tile:
        of V = Pᵀ G        of P = G Vᵀ        of S = P ∘ (of P − rowsum(P ∘ of P))
        of Q = scale · of S K        of K = scale · (of S)ᵀ Q,
    with the slope of the softcap, where there is one, as a further factor of `of S`.

    The line of S is torch's own kernel, which autograd of `softmax` calls too. It is private, and
    taken because the formula in Python makes two tensors of a tile's size more. If torch changes
    it, `test_values_and_gradients_are_those_of_a_mask` and
    `test_gradients_are_the_slopes_of_the_values` of tests/tasks/models/groups/test_attention.py
    fail.
    """
    of_query, of_key, of_value = (
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for tensor in (query, key, value)
    )
    for tiles in _plan(query, edges, window):
        totals = [_Total(of_key, tiles), _Total(of_value, tiles)]
        for tile in tiles:
            probs, slopes, queries, keys = _probabilities(tile, query, key, scale, window, softcap)
            grads = _fold(gradient[:, tile.start : tile.stop], key.shape[0])
            totals[1].add(tile, torch.bmm(probs.transpose(1, 2), grads))
            of_probs = torch.bmm(grads, _gather(value, tile).transpose(1, 2))
            of_scores = torch.ops.aten._softmax_backward_data(of_probs, probs, -1, probs.dtype)
            of_scores.mul_(scale if slopes is None else slopes.mul_(scale))
            found = torch.bmm(of_scores, keys)
            of_query[:, tile.start : tile.stop] = found.view(query.shape[0], -1, query.shape[2])
            totals[0].add(tile, torch.bmm(of_scores.transpose(1, 2), queries))
        for total in totals:
            total.finish()
    return of_query, of_key, of_value


@_grouped_backward.register_fake
def _(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    whole = torch.contiguous_format
    return (
        torch.empty_like(query, memory_format=whole),
        torch.empty_like(key, memory_format=whole),
        torch.empty_like(value, memory_format=whole),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.numbers = inputs[4:]


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    found = _grouped_backward(gradient, *ctx.saved_tensors, *ctx.numbers)
    return (*found, None, None, None, None)


_grouped.register_autograd(_differentiate, setup_context=_remember)


def _plan(query: Tensor, edges: Tensor, window: int) -> list[list[Tile]]:
    rows = tuple(map(tuple, edges.tolist()))
    return plan(rows, query.shape[0], window, query.dtype, query.device)


def _probabilities(
    tile: Tile, query: Tensor, key: Tensor, scale: float, window: int, softcap: float
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """A tile's probabilities (H', H/H' · r, L), the softcap's slopes, its queries and its keys."""
    queries, keys = _fold(query[:, tile.start : tile.stop], key.shape[0]), _gather(key, tile)
    unused = queries.new_empty(())
    scores = torch.baddbmm(unused, queries, keys.transpose(1, 2), beta=0, alpha=scale)
    slopes = None
    if softcap:
        bent = scores.div_(softcap).tanh_()
        slopes, scores = 1 - bent.square(), bent * softcap
    size, seen = tile.stop - tile.start, keys.shape[1]
    per_query = scores.view(key.shape[0], -1, size, seen)
    per_query[..., seen - size :] += tile.mask
    if 0 < window < seen:
        # Keys stand in the order of their positions, so distances are differences of columns.
        columns = torch.arange(seen, device=scores.device)
        too_far = columns <= columns[seen - size :, None] - window
        per_query.masked_fill_(too_far, float("-inf"))
    return scores.softmax(dim=-1), slopes, queries, keys


def _fold(heads: Tensor, key_heads: int) -> Tensor:
    """Queries (H, r, D) of the heads that share keys side by side: (H', H/H' · r, D)."""
    return heads.reshape(key_heads, -1, heads.shape[-1])


def _gather(tensor: Tensor, tile: Tile) -> Tensor:
    """The past and the tile itself. Shape (H', L, D)."""
    spans = _spans(tile)
    if len(spans) == 1:
        return tensor[:, spans[0][0] : spans[0][1]]
    return torch.cat([tensor[:, start:stop] for start, stop in spans], dim=1)


def _spans(tile: Tile) -> list[tuple[int, int]]:
    """Places of a tile's keys, neighbours put together."""
    spans: list[tuple[int, int]] = []
    for start, stop in (*tile.past, (tile.start, tile.stop)):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans


class _Total:
    """The gradient of a group's keys or values, summed over its tiles in at least float32."""

    def __init__(self, out: Tensor, tiles: list[Tile]) -> None:
        self.start = tiles[0].start
        self.out = out[:, self.start : tiles[-1].stop]
        self.alone = len(tiles) == 1
        exact = torch.promote_types(out.dtype, torch.float32)
        if not self.alone:
            self.sum = torch.zeros(self.out.shape, dtype=exact, device=out.device)

    def add(self, tile: Tile, found: Tensor) -> None:
        """Add what was found for `_gather`'s rows to the places they came from."""
        if self.alone:
            self.out.copy_(found)
            return
        at = 0
        for start, stop in _spans(tile):
            length = stop - start
            self.sum[:, start - self.start : stop - self.start] += found[:, at : at + length]
            at += length

    def finish(self) -> None:
        """Write the sum to where it belongs."""
        if not self.alone:
            self.out.copy_(self.sum)
