"""Attention of continuations to prompts that they share.

A token attends to [its prompt | its continuation's earlier tokens] under one softmax, as it would
alone. The prompt's part is one product per prompt for all its continuations. Shapes: N
continuations, of G prompts in pieces of G'; H heads, H' of keys; D numbers each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.sampling.kv_cache import Piece, SharedCache

SHARED = "sparring_decode"


def register() -> None:
    """Make the attention known to transformers under the name `SHARED`; may be called again.

    No mask is registered for it: transformers then builds none.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(SHARED, _attention)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    continuations: SharedCache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The function transformers calls: query (N, H, 1, D), key and value (N, H', T, D)."""
    known = ("softcap", "s_aux", "position_bias", "sliding_window")
    unknown = [name for name in known if kwargs.get(name) is not None]
    if unknown or dropout or continuations is None:
        raise NotImplementedError(f"no {', '.join(unknown) or 'such call'} while sharing prompts")
    continuations.calls += 1
    rows, heads, _, size = query.shape
    groups, kept = key.shape[1], continuations
    scale = size**-0.5 if scaling is None else float(scaling)
    scaled = (query * scale).reshape(rows, heads, size)
    pieces = kept.layers[module.layer_idx].pieces
    before = _prompt_scores(scaled, pieces, kept, groups)
    # Keys times query: for a single query this order is the fast one.
    own = torch.bmm(key.flatten(0, 1), scaled.view(rows * groups, -1, size).transpose(1, 2))
    own = own.transpose(1, 2).reshape(rows, heads, -1)
    probs = torch.cat([before, own], dim=-1).softmax(dim=-1)
    width = before.shape[-1]
    of_own = probs[..., width:].reshape(rows * groups, heads // groups, -1)
    out = torch.bmm(of_own, value.flatten(0, 1)).view(rows, heads, -1)
    out += _prompt_values(probs[..., :width], pieces, kept, groups)
    return out.unsqueeze(1), None


def _prompt_scores(query: Tensor, pieces: list[Piece], kept: SharedCache, groups: int) -> Tensor:
    """Scores on the prompts; query (N, H, D), result (N, H, P of the longest piece)."""
    slots = kept.samples * sum(len(piece.keys) for piece in pieces)
    spread = query.new_zeros(slots, *query.shape[1:]).index_copy_(0, kept.slots, query)
    width = max(piece.keys.shape[2] for piece in pieces)
    scores = query.new_full((slots, query.shape[1], width), float("-inf"))
    parts = spread.split([len(piece.keys) * kept.samples for piece in pieces])
    first = 0
    for piece, part in zip(pieces, parts, strict=True):
        keys = piece.keys.flatten(0, 1).transpose(1, 2)
        found = torch.bmm(_fold(part, len(piece.keys), groups), keys)
        found = found.view(len(piece.keys), -1, found.shape[-1])
        if piece.bias is not None:
            found += piece.bias[:, None]
        scores[first : first + len(part), :, : keys.shape[2]] = _unfold(found, part, groups)
        first += len(part)
    return scores.index_select(0, kept.slots)


def _prompt_values(probs: Tensor, pieces: list[Piece], kept: SharedCache, groups: int) -> Tensor:
    """What the prompts contribute; probs (N, H, P), result (N, H, D)."""
    slots = kept.samples * sum(len(piece.keys) for piece in pieces)
    spread = probs.new_zeros(slots, *probs.shape[1:]).index_copy_(0, kept.slots, probs)
    parts = spread.split([len(piece.keys) * kept.samples for piece in pieces])
    found = []
    for piece, part in zip(pieces, parts, strict=True):
        weights = _fold(part[..., : piece.keys.shape[2]], len(piece.keys), groups)
        values = torch.bmm(weights, piece.values.flatten(0, 1))
        found.append(_unfold(values.view(len(piece.keys), -1, values.shape[-1]), part, groups))
    return torch.cat(found).index_select(0, kept.slots)


def _fold(part: Tensor, prompts: int, groups: int) -> Tensor:
    """(G'·K, H, X) to (G'·H', K·H/H', X): what shares keys stands together."""
    samples, heads, last = len(part) // prompts, part.shape[1], part.shape[2]
    split = part.reshape(prompts, samples, groups, heads // groups, last).transpose(1, 2)
    return split.reshape(prompts * groups, -1, last)


def _unfold(found: Tensor, part: Tensor, groups: int) -> Tensor:
    """(G', H'·K·H/H', X) to (G'·K, H, X)."""
    prompts, last = len(found), found.shape[-1]
    heads = part.shape[1]
    split = found.view(prompts, groups, -1, heads // groups, last).transpose(1, 2)
    return split.reshape(len(part), heads, last)
