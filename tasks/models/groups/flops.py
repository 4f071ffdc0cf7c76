"""How much arithmetic a pass needs, and how fast this machine multiplies matrices at best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.models.groups.encoder_decoder import TwoSidedBatch
from tasks.models.groups.packing import PackedGroups
from tasks.models.padded_batches import GroupBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What the decoder computes of the prompt's states: BART and its like, T5 and its like.
_CROSSING = (
    *("encoder_attn.k_proj", "encoder_attn.v_proj"),
    *("EncDecAttention.k", "EncDecAttention.v"),
)


def multiply_adds(model: PreTrainedModel, batch: PackedGroups | TwoSidedBatch | GroupBatch) -> int:
    """Count the multiply–adds of one forward pass that real tokens need; a backward pass needs 2.

    Every matrix of the backbone once per token with shared prompts counted once, the output head
    once per scored token, and attention for the pairs of tokens that see each other.
    """
    if isinstance(batch, TwoSidedBatch):
        return _two_sided(model, batch)
    prompts, responses = _lengths(batch)
    tokens = sum(prompts) + sum(map(sum, responses))
    scored = sum(map(sum, responses))
    pairs = sum(_triangle(prompt) for prompt in prompts)
    for prompt, lengths in zip(prompts, responses, strict=True):
        pairs += sum(length * prompt + _triangle(length) for length in lengths)
    config = model.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    attention = 2 * heads * size * config.num_hidden_layers * pairs
    backbone = getattr(model, model.base_model_prefix)
    return matrix_numbers(backbone) * tokens + _head(model) * scored + attention


def matrix_numbers(module: nn.Module) -> int:
    """Return how many numbers the matrices of a module hold that every token is multiplied with."""
    return sum(map(_size, _matrices(module)))


def backward_passes(model: nn.Module) -> float:
    """Return what a backward pass through a model costs, in forward passes: 2 if all is trained.

    A matrix costs one for its own gradient, if it is trained, and one to hand a gradient on to what
    lies below it, from the lowest one on that is trained.
    """
    found = [(_size(weight), weight.requires_grad) for weight in _matrices(model)]
    lowest = next((at for at, (_, trained) in enumerate(found) if trained), len(found))
    own = sum(size for size, trained in found if trained)
    handed_on = sum(size for size, _ in found[lowest:])
    return (own + handed_on) / max(1, sum(size for size, _ in found))


@lru_cache(maxsize=4)
def best_matmul_rate(device: str, dtype: torch.dtype = torch.bfloat16) -> float:
    """Measure the best square matrix product here, FLOP/s; once per process, some 0.1 s."""
    best = 0.0
    # A stream of its own: whoever trains must not notice.
    generator = torch.Generator(device).manual_seed(0)
    for size in (8192, 4096) if device == "cuda" else (1024, 2048):
        left, right = torch.randn(2, size, size, device=device, generator=generator).to(dtype)
        for _ in range(5):
            begun = time.perf_counter()
            left @ right
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best


def _matrices(module: nn.Module) -> Iterator[torch.Tensor]:
    for part in module.modules():
        # GPT-2 has its own linear layer; whatever has a 2-D weight is one.
        weight = getattr(part, "weight", None)
        if isinstance(weight, torch.Tensor) and not isinstance(part, nn.Embedding):
            # A model sharded by DeepSpeed keeps the shape of the whole beside an empty tensor.
            if len(getattr(weight, "ds_shape", weight.shape)) == 2:
                yield weight


def _two_sided(model: PreTrainedModel, batch: TwoSidedBatch) -> int:
    """Of a model with an encoder: projections of the prompt's states once per prompt."""
    prompts, replies = batch.attention_mask.sum(dim=1), batch.lengths[batch.mask]
    sizes = {
        name: sum(matrix_numbers(part) for key, part in model.named_modules() if key.endswith(ends))
        for name, ends in {
            "crossing": _CROSSING,
            "encoder": ("encoder.layers", "encoder.block"),
            "decoder": ("decoder.layers", "decoder.block"),
        }.items()
    }
    config = model.config
    width = getattr(config, "d_kv", config.hidden_size // config.num_attention_heads)
    numbers = 2 * config.num_attention_heads * width
    layers = getattr(config, "num_decoder_layers", None) or config.decoder_layers
    seen = (replies * prompts[batch.owners]).sum() + (replies * (replies + 1) // 2).sum()
    pairs = config.num_hidden_layers * int(prompts.square().sum()) + layers * int(seen)
    return (
        int(prompts.sum()) * (sizes["encoder"] + sizes["crossing"])
        + int(replies.sum()) * (sizes["decoder"] - sizes["crossing"] + _head(model))
        + numbers * pairs
    )


def _head(model: PreTrainedModel) -> int:
    head = model.get_output_embeddings()
    return _size(head.weight) if head is not None else 0


def _lengths(batch: PackedGroups | GroupBatch) -> tuple[list[int], list[list[int]]]:
    """Tokens of each group's prompt and of each of its responses."""
    responses: list[list[int]] = batch.lengths.tolist()
    if isinstance(batch, PackedGroups):
        return (batch.edges[:, 1] - batch.edges[:, 0]).tolist(), responses
    whole = batch.attention_mask.sum(dim=1).cpu()
    first = batch.rows.cpu().clamp(min=0)[:, 0]
    return (whole[first] - batch.lengths.cpu()[:, 0]).tolist(), responses


def _size(weight: torch.Tensor) -> int:
    # A model sharded by DeepSpeed keeps the size of the whole beside an empty tensor.
    return int(getattr(weight, "ds_numel", weight.numel()))


def _triangle(length: int) -> int:
    return length * (length + 1) // 2
