"""Attention to shared prompts against the formula, row by row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from tasks.models.sampling.kv_cache import SharedCache
from tasks.models.sampling.shared_attention import _attention

GROUPS, SIZE, SAMPLES = 2, 4, 3


def slowly(query: Any, keys: Any, values: Any, repeats: int, scale: float) -> Any:
    """One row: query (H, D), keys and values (H', L, D)."""
    out = []
    for head, asked in enumerate(query):
        weights = (keys[head // repeats] @ asked * scale).softmax(dim=0)
        out.append(weights @ values[head // repeats])
    return torch.stack(out)


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_row_attends_to_its_prompt_and_itself(repeats: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    lengths = [[5, 3], [2, 2, 1]]
    caches, masks, prompts = [], [], []
    for piece in lengths:
        width = max(piece)
        keys, values = (random(len(piece), GROUPS, width, SIZE) for _ in range(2))
        caches.append(DynamicCache([(keys, values)]))
        mask = torch.arange(width) >= width - torch.tensor(piece)[:, None]
        masks.append(mask)
        prompts += [(keys[n][:, mask[n]], values[n][:, mask[n]]) for n in range(len(piece))]
    cache = SharedCache(caches, masks, SAMPLES)
    cache.keep(torch.arange(15) % 4 != 1)
    rows = len(cache.slots)
    query = random(rows, GROUPS * repeats, 1, SIZE)
    own_keys, own_values = (random(rows, GROUPS, 7, SIZE) for _ in range(2))
    module: Any = SimpleNamespace(layer_idx=0)
    out, _ = _attention(module, query, own_keys, own_values, None, scaling=0.3, continuations=cache)
    for row, slot in enumerate(cache.slots.tolist()):
        keys, values = (
            torch.cat([past, own[row]], dim=1)
            for past, own in zip(prompts[slot // SAMPLES], (own_keys, own_values), strict=True)
        )
        expected = slowly(query[row, :, 0], keys, values, repeats, 0.3)
        torch.testing.assert_close(out[row, 0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("more", [{"softcap": 2.0}, {"sliding_window": 3}, {"dropout": 0.1}])
def test_what_it_cannot_do_is_refused(more: dict[str, Any]) -> None:
    mask = torch.ones(1, 2, dtype=torch.bool)
    keys = torch.zeros(1, 1, 2, 4)
    cache = SharedCache([DynamicCache([(keys, keys)])], [mask], 1)
    query, module = torch.zeros(1, 1, 1, 4), SimpleNamespace(layer_idx=0)
    with pytest.raises(NotImplementedError):
        _attention(module, query, query, query, None, continuations=cache, **more)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        _attention(module, query, query, query, None)  # type: ignore[arg-type]
