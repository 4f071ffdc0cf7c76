"""Prompts through the model once, before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.models.policy import position_ids

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

_PIECE_TOKENS = 2048  # of prompts prefilled together, sorted by length: little padding in them


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts as a rectangle that ends where each prompt ends, so that decoding goes on there.

    Args:
        prompts: Token ids, none empty.
        pad_id: Written where there is no token; it decides nothing.

    Returns:
        Ids, int64, and mask, bool. Shapes (N, T).
    """
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[row, width - len(prompt) :] = True
    assert bool(mask[:, -1].all()), "a row that ends in padding would decode garbage"
    return ids, mask


def prefill(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int
) -> tuple[Tensor, Cache, Tensor, Tensor]:
    """Compute what prompts leave behind.

    Args:
        model: A causal language model.
        prompts: G prompts, none empty.
        pad_id: Written where there is no token; it decides nothing.

    Returns:
        Logits after each prompt (G, V), keys and values, which of their P places hold a token
        (G, P), and the position of each prompt's last token (G, 1).
    """
    from transformers import DynamicCache

    ids, mask = (part.to(model.device) for part in pad_left(prompts, pad_id))
    places = position_ids(mask)
    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1], cache, mask, places[:, -1:]


def pieces(prompts: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    """Cut prompts, in order, into pieces of few padded tokens; a long prompt is one alone."""
    first, width = 0, 0
    for place, prompt in enumerate(prompts):
        width = max(width, len(prompt))
        if place > first and width * (place + 1 - first) > _PIECE_TOKENS:
            yield prompts[first:place]
            first, width = place, len(prompt)
    yield prompts[first:]


def pads_last(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of (N, T) behind each row: encoders with learned positions need it there."""
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, order), mask.gather(1, order)
