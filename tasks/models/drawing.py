"""Which token comes next, and which tokens may end a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tasks.models.generation import SamplingConfig


def draw_tokens(logits: Tensor, uniform: Tensor, config: SamplingConfig) -> Tensor:
    """Draw one token per row by inverting its distribution function.

    Args:
        logits: finite. Shape (N, V).
        uniform: in [0, 1). Shape (N,).
        config: temperature (0: the likeliest token), top_k, top_p.

    Returns:
        Token ids. Shape (N,), int64.
    """
    if config.temperature == 0:
        return logits.argmax(dim=-1)
    probs = (logits.float() / config.temperature).softmax(dim=-1)
    order = None
    if 0 < config.top_k < probs.shape[-1]:
        probs, order = probs.topk(config.top_k, dim=-1)
    elif config.top_p < 1:
        probs, order = probs.sort(dim=-1, descending=True, stable=True)
    if config.top_p < 1:
        probs = probs / probs.sum(dim=-1, keepdim=True)
        # A token stays if the likelier ones do not yet have top_p together: one always stays.
        outside = probs.cumsum(dim=-1) - probs >= config.top_p
        outside[:, 0] = False
        probs = probs.masked_fill(outside, 0)
    below = probs.double().cumsum(dim=-1)
    total = below[:, -1:]
    # Rounding must not push the target onto the total, behind the last possible token.
    target = (uniform.double()[:, None] * total).minimum(total.nextafter(torch.zeros_like(total)))
    drawn = torch.searchsorted(below, target, right=True)
    return (drawn if order is None else order.gather(-1, drawn))[:, 0]


def end_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]
) -> list[int]:
    """Token ids that end a response.

    Args:
        model: its generation config may name further ends than EOS, as chat models do.
        tokenizer: names EOS.
        stops: stop strings; one that is a special token never shows in text, so it ends by id.
    """
    named = getattr(model.generation_config, "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    added = tokenizer.get_added_vocab()
    ends = {tokenizer.eos_token_id, *listed, *(added.get(stop) for stop in stops)}
    return sorted(end for end in ends if end is not None)


def closing_tokens(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, stops: Sequence[str]
) -> Tensor:
    """Which tokens can complete a stop string, so that text is looked at only after those.

    Args:
        tokenizer: the model's own.
        model: gives the size of the vocabulary.
        stops: stop strings; without any, no token closes.

    Returns:
        True for tokens that hold a stop's last character or a piece of one. Shape (V,), bool.
    """
    size = model.get_output_embeddings().weight.shape[0]
    closing = torch.zeros(size, dtype=torch.bool)
    if stops:
        known = min(size, len(tokenizer))
        signs = {"\N{REPLACEMENT CHARACTER}", *(stop[-1] for stop in stops)}
        texts = tokenizer.batch_decode([[token] for token in range(known)])
        closing[:known] = torch.tensor([any(s in text for s in signs) for text in texts])
    return closing
