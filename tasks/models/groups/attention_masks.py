"""Masks that say the same as `attention.py`, for models and devices with attention of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.models.groups.packing import PackedGroups

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


def dense_mask(batch: PackedGroups, dtype: torch.dtype) -> Tensor:
    """Return what may be seen from where: 0, else the type's lowest number. Shape (1, 1, N, N)."""
    places = torch.arange(batch.tokens, device=batch.input_ids.device)
    seen = _rule(batch)(None, None, places[:, None], places)
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]


def block_mask(batch: PackedGroups) -> BlockMask:
    """Return the same as a block mask of flex attention, for a row on an accelerator."""
    from torch.nn.attention.flex_attention import create_block_mask

    size, device = batch.tokens, batch.input_ids.device
    return create_block_mask(_rule(batch), B=None, H=None, Q_LEN=size, KV_LEN=size, device=device)


def _rule(batch: PackedGroups) -> Callable[[Any, Any, Tensor, Tensor], Tensor]:
    """Return whether a query sees a key, as flex attention asks it: of a batch and a head."""
    flat, device = batch.edges.flatten(), batch.input_ids.device
    # Equal edges belong to empty slots: the last of them is where the next thing starts.
    part = (torch.searchsorted(flat, torch.arange(batch.tokens), right=True) - 1).to(device)
    group, response = part // batch.edges.shape[1], part % batch.edges.shape[1]  # 0: the prompt
    position = batch.position_ids[0]

    def sees(_batch: Any, _head: Any, query: Tensor, key: Tensor) -> Tensor:
        own = (response[key] == 0) | (response[key] == response[query])
        return (group[key] == group[query]) & own & (position[key] <= position[query])

    return sees
