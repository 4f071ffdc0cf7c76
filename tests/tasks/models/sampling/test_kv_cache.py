"""Room for continuations: what is appended and moved stays what it was; unused prompts go."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache, DynamicSlidingWindowLayer

from tasks.models.sampling.kv_cache import SharedCache

HEADS, SIZE = 2, 3


def filled(prompts: int, places: int, layers: int = 2) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(layers):
        shape = (prompts, HEADS, places, SIZE)
        cache.update(torch.randn(shape), torch.randn(shape), layer)
    return cache


def shared(sizes: list[tuple[int, int]], samples: int) -> tuple[SharedCache, list[Any]]:
    caches = [filled(*size) for size in sizes]
    masks = [torch.ones(size, dtype=torch.bool) for size in sizes]
    return SharedCache(caches, masks, samples), caches


def test_tokens_are_appended_beyond_the_first_room_and_follow_their_rows() -> None:
    """A slow version beside it: a list of keys per row."""
    torch.manual_seed(0)
    cache, _ = shared([(3, 4)], 2)
    rows: list[list[torch.Tensor]] = [[] for _ in range(6)]
    for step in range(70):
        new = torch.randn(len(rows), HEADS, 1, SIZE)
        for row, key in zip(rows, new, strict=True):
            row.append(key)
        for layer in range(2):
            keys, values = cache.update(new, -new, layer)
            expected = torch.stack([torch.cat(row, dim=1) for row in rows])
            assert torch.equal(keys, expected) and torch.equal(values, -expected)
        assert cache.get_seq_length() == step + 1
        if step in (3, 40):
            going = torch.ones(len(rows), dtype=torch.bool)
            going[[0, 2]] = False
            rows = [rows[int(place)] for place in cache.keep(going)]
    assert len(rows) == 2


def test_the_last_rows_take_the_places_of_those_that_ended() -> None:
    cache, _ = shared([(2, 4)], 3)
    order = cache.keep(torch.tensor([False, True, True, False, True, True]))
    assert order.tolist() == [4, 1, 2, 5]
    assert cache.slots.tolist() == [4, 1, 2, 5]


def test_prompts_that_nobody_continues_leave_with_their_piece() -> None:
    cache, whole = shared([(2, 5), (4, 3)], 2)
    # Prompts 0 and 1 (first piece) end, and of the second piece all but its third prompt.
    going = torch.zeros(12, dtype=torch.bool)
    going[[8, 9]] = True
    cache.keep(going)
    (piece,) = cache.layers[1].pieces
    assert torch.equal(piece.keys, whole[1].layers[1].keys[2:3])
    assert torch.equal(piece.values, whole[1].layers[1].values[2:3])
    assert sorted(cache.slots.tolist()) == [0, 1]


def test_a_few_unused_prompts_stay_because_leaving_costs_a_copy() -> None:
    cache, whole = shared([(12, 3)], 1)
    going = torch.ones(12, dtype=torch.bool)
    going[5] = False
    cache.keep(going)
    assert cache.layers[0].pieces[0].keys is whole[0].layers[0].keys


def test_padding_is_minus_infinity_and_a_sliding_window_is_refused() -> None:
    mask = torch.tensor([[False, True, True], [True, True, True]])
    cache = SharedCache([filled(2, 3)], [mask], 1)
    bias = cache.layers[0].pieces[0].bias
    assert bias.tolist() == [[-torch.inf, 0, 0], [0, 0, 0]]
    sliding = filled(2, 3)
    sliding.layers[1] = DynamicSlidingWindowLayer(sliding_window=2)
    with pytest.raises(NotImplementedError, match="DynamicSlidingWindowLayer"):
        SharedCache([sliding], [mask], 1)
