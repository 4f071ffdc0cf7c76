"""Masks that say the same as `attention.py`, for models and devices with attention of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.models.groups.packing import PackedGroups

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


def dense_mask(batch: PackedGroups, dtype: torch.dtype) -> Tensor:
    """Return what may be seen from where: 0, else the type's lowest number. Shape (1, 1, N, N)."""
    group, response, position = _owners(batch)
    seen = _sees(group, response, position, slice(None, None), slice(None, None))
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]


def block_mask(batch: PackedGroups) -> BlockMask:
    """Return the same as a block mask of flex attention, for a row on an accelerator."""
    from torch.nn.attention.flex_attention import create_block_mask

    group, response, position = _owners(batch)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = (response[key] == 0) | (response[key] == response[query])
        return (group[key] == group[query]) & own & (position[key] <= position[query])

    size = batch.tokens
    return create_block_mask(sees, B=None, H=None, Q_LEN=size, KV_LEN=size, device=group.device)


def _owners(batch: PackedGroups) -> tuple[Tensor, Tensor, Tensor]:
    """Group, part (0 is the prompt) and position of each token. Shapes (N,)."""
    places = torch.arange(batch.tokens)
    flat = batch.edges.flatten()
    # Equal edges belong to empty slots: the last of them is where the next thing starts.
    part = torch.searchsorted(flat, places, right=True) - 1
    width = batch.edges.shape[1]
    device = batch.input_ids.device
    return (part // width).to(device), (part % width).to(device), batch.position_ids[0]


def _sees(group: Tensor, response: Tensor, position: Tensor, query: slice, key: slice) -> Tensor:
    own = (response[None, key] == 0) | (response[None, key] == response[query, None])
    same = group[None, key] == group[query, None]
    return same & own & (position[None, key] <= position[query, None])
