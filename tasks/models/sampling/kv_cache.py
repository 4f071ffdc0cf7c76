"""Keys and values of G prompts with K continuations each: a prompt's once, not K times.

What is written at each step goes into room that grows in blocks, so nothing is copied to append a
token. `shared_attention.py` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

_BLOCK = 32  # tokens by which the room of the continuations grows
_KEPT_PROMPTS = 0.9  # prompts leave a piece once fewer than this share of them is needed


class Piece(NamedTuple):
    """Prompts that were prefilled together. G' prompts, P tokens with padding."""

    keys: Tensor
    """Shape (G', H', P, D)."""
    values: Tensor
    """Shape (G', H', P, D)."""
    bias: Tensor | None
    """Minus infinity where there is padding, else 0; None where there is none. Shape (G', P)."""


class SharedLayer(CacheLayerMixin):
    """One layer: the prompts' keys and values, and room for those of N continuations."""

    def __init__(self, pieces: list[Piece], rows: int) -> None:
        """Take prefilled prompts, in order, and how many continuations start from them."""
        super().__init__()
        self.pieces, self.rows, self.used = pieces, rows, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make the first room. Shapes (N, H', 1, D)."""
        self.keys, self.values = self._room(key_states), self._room(value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append one token per continuation; shapes (N, H', 1, D).

        Returns:
            Keys and values of the continuations alone, as views. Shapes (N, H', T, D).
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if self.used == self.keys.shape[2]:
            self.keys = self._grown(self.keys)
            self.values = self._grown(self.values)
        self.keys[: self.rows, :, self.used] = key_states[:, :, 0]
        self.values[: self.rows, :, self.used] = value_states[:, :, 0]
        self.used += 1
        return (
            self.keys[: self.rows, :, : self.used],
            self.values[: self.rows, :, : self.used],
        )

    def move(self, sources: Tensor, targets: Tensor, rows: int) -> None:
        """Let some continuations take the places of others; the first `rows` remain."""
        for room in (self.keys, self.values) if self.is_initialized else ():
            room[targets, :, : self.used] = room[sources, :, : self.used]
        self.rows = rows

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset for a mask, which nobody builds here."""
        return self.used + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens per continuation."""
        return self.used

    def get_max_length(self) -> int:
        """Return -1: a cache of this kind has no longest length."""
        return -1

    def _room(self, states: Tensor) -> Tensor:
        return states.new_empty(self.rows, states.shape[1], _BLOCK, states.shape[3])

    def _grown(self, room: Tensor) -> Tensor:
        shape = (self.rows, room.shape[1], self.used + _BLOCK, room.shape[3])
        grown = room.new_empty(shape)
        grown[:, :, : self.used] = room[: self.rows, :, : self.used]
        return grown


class SharedCache(Cache):
    """The cache of a whole model; N continuations of G prompts."""

    def __init__(self, caches: Sequence[Cache], masks: Sequence[Tensor], samples: int) -> None:
        """Take over the caches of prefilled prompts; nothing is copied.

        Args:
            caches: What the model filled for each piece of the prompts, with full attention.
            masks: True for their real tokens. Shapes (G', P).
            samples: Continuations per prompt (K).

        Raises:
            NotImplementedError: A layer does not keep all it has seen, as with a sliding window.
        """
        for layer in caches[0].layers:
            if type(layer) is not DynamicLayer:
                raise NotImplementedError(f"its cache has a {type(layer).__name__}")
        biases = [_bias(mask, caches[0].layers[0].keys.dtype) for mask in masks]
        self.samples = samples
        prompts = sum(len(mask) for mask in masks)
        layers = []
        for index in range(len(caches[0].layers)):
            held = [cache.layers[index] for cache in caches]
            pieces = [
                Piece(layer.keys, layer.values, bias)
                for layer, bias in zip(held, biases, strict=True)
            ]
            layers.append(SharedLayer(pieces, prompts * samples))
        super().__init__(layers=layers)
        self.calls = 0
        """How often the attention was asked."""
        self.slots = torch.arange(prompts * samples, device=masks[0].device)
        """Prompt · K + k of each continuation, prompts counted over the pieces. Shape (N,)."""

    def keep(self, going: Tensor) -> Tensor:
        """Drop the continuations that have ended; their places are taken by the last ones.

        Args:
            going: Which ones go on. Shape (N,), bool, on the CPU.

        Returns:
            Which continuation stands in each remaining place. Shape (N',), int64, on the CPU.
        """
        rows = int(going.sum())
        order = torch.arange(rows)
        targets = (~going[:rows]).nonzero()[:, 0]
        sources = going[rows:].nonzero()[:, 0] + rows
        order[targets] = sources
        device = self.slots.device
        for layer in self.layers:
            layer.move(sources.to(device), targets.to(device), rows)
        self.slots = self.slots[order.to(device)]
        self._drop_prompts()
        return order

    def _drop_prompts(self) -> None:
        """Let prompts go that nobody continues, where they are many."""
        needed = torch.zeros(self._prompts(), dtype=torch.bool)
        needed[(self.slots // self.samples).cpu()] = True
        sizes = [len(piece.keys) for piece in self.layers[0].pieces]
        kept = [
            part if part.float().mean() < _KEPT_PROMPTS else torch.ones_like(part)
            for part in needed.split(sizes)
        ]
        if all(bool(part.all()) for part in kept):
            return
        for layer in self.layers:
            layer.pieces = [
                _select(piece, part)
                for piece, part in zip(layer.pieces, kept, strict=True)
                if bool(part.any())
            ]
        places = (torch.cat(kept).cumsum(dim=0) - 1).to(self.slots.device)
        prompt, sample = self.slots // self.samples, self.slots % self.samples
        self.slots = places[prompt] * self.samples + sample

    def _prompts(self) -> int:
        return sum(len(piece.keys) for piece in self.layers[0].pieces)


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    if bool(mask.all()):
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, float("-inf")
    )


def _select(piece: Piece, kept: Tensor) -> Piece:
    if bool(kept.all()):
        return piece
    index = kept.nonzero()[:, 0].to(piece.keys.device)
    bias = None if piece.bias is None else piece.bias[index]
    return Piece(piece.keys[index], piece.values[index], bias)
