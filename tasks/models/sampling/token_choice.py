"""Which token comes next, and which tokens may end a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tasks.models.sampling.config import SamplingConfig

_BLOCK = 128  # tokens summed at once
_HEAD = 256  # likeliest tokens looked at first when a nucleus is asked for


def draw_tokens(logits: Tensor, uniform: Tensor, config: SamplingConfig) -> Tensor:
    """Draw one token per row by inverting its distribution function.

    Args:
        logits: Finite. Shape (N, V).
        uniform: In [0, 1). Shape (N,).
        config: Temperature (0: the likeliest token), top_k, top_p.

    Returns:
        Token ids. Shape (N,), int64.
    """
    if config.temperature == 0:
        return logits.argmax(dim=-1)
    size = logits.shape[-1]
    if 0 < config.top_k < size:
        likeliest, order = logits.topk(config.top_k, dim=-1)
        probs = _softmax(likeliest, config)
        return _of(order, _invert(_nucleus(probs, config.top_p), uniform))
    probs = _softmax(logits, config)
    if config.top_p == 1:
        return _invert(probs, uniform)
    return _draw_from_nucleus(probs, uniform, config.top_p)


def _softmax(logits: Tensor, config: SamplingConfig) -> Tensor:
    scaled = logits.float()
    return (scaled if config.temperature == 1 else scaled / config.temperature).softmax(dim=-1)


def _draw_from_nucleus(probs: Tensor, uniform: Tensor, top_p: float) -> Tensor:
    """Draw among the likeliest tokens that have `top_p` together; few rows are sorted whole."""
    head, order = probs.topk(min(_HEAD, probs.shape[-1]), dim=-1)
    drawn = _of(order, _invert(_nucleus(head, top_p), uniform))
    wide = (head.sum(dim=-1) < top_p).nonzero()[:, 0]
    if len(wide) and head.shape[-1] < probs.shape[-1]:
        ranked, order = probs[wide].sort(dim=-1, descending=True, stable=True)
        drawn[wide] = _of(order, _invert(_nucleus(ranked, top_p), uniform[wide]))
    return drawn


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero all but the likeliest tokens that have `top_p` together; `probs` descends."""
    if top_p == 1:
        return probs
    # A token stays if the likelier ones do not yet have top_p together: one always stays.
    outside = probs.cumsum(dim=-1) - probs >= top_p
    outside[:, 0] = False
    return probs.masked_fill(outside, 0)


def _invert(probs: Tensor, uniform: Tensor) -> Tensor:
    """The token in which each row's distribution function reaches uniform · total. Shape (N,).

    Looks for the block first and in it for the token: no running sum over the vocabulary.
    """
    rows, size = probs.shape
    blocks = -(-size // _BLOCK)
    whole = size // _BLOCK * _BLOCK
    sums = probs[:, :whole].view(rows, -1, _BLOCK).sum(dim=-1)
    if blocks * _BLOCK > whole:
        sums = torch.cat([sums, probs[:, whole:].sum(dim=-1, keepdim=True)], dim=-1)
    below = sums.double().cumsum(dim=-1)
    target = _inside(uniform.double()[:, None] * below[:, -1:], below[:, -1:])
    block = torch.searchsorted(below, target, right=True)
    before = (below - sums.double()).gather(-1, block)
    places = block * _BLOCK + torch.arange(_BLOCK, device=probs.device)
    inner = probs.gather(-1, places.clamp(max=size - 1)).double().masked_fill(places >= size, 0)
    reached = inner.cumsum(dim=-1)
    target = _inside((target - before).clamp(min=0), reached[:, -1:])
    return (block * _BLOCK + torch.searchsorted(reached, target, right=True))[:, 0]


def _inside(target: Tensor, total: Tensor) -> Tensor:
    # Rounding must not push the target onto the total, behind the last possible token.
    return target.minimum(total.nextafter(torch.zeros_like(total)))


def _of(order: Tensor, drawn: Tensor) -> Tensor:
    return order.gather(-1, drawn[:, None])[:, 0]


def end_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]
) -> list[int]:
    """Token ids that end a response.

    Args:
        model: Its generation config may name further ends than EOS, as chat models do.
        tokenizer: Names EOS.
        stops: Stop strings; one that is a special token never shows in text, so it ends by id.
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
        tokenizer: The model's own.
        model: Gives the size of the vocabulary.
        stops: Stop strings; without any, no token closes.

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
