"""Policies: loading them, and the log-probability they give to responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.models.loading import load_weights
from tasks.models.padded_batches import GroupBatch
from tasks.models.source_checks import require_context
from tasks.models.tqr.marker import refuse_as_policy

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from tasks.models.architecture import ArchitectureConfig
    from tasks.models.tokens.encoding import Limits


def load_policy(
    path: str | Path,
    context: AbstractContextManager[Any] | None = None,
    *,
    dtype: str = "auto",
    revision: str | None = None,
) -> PreTrainedModel:
    """Load a causal language model, or one with an encoder for the prompt, in eval mode.

    Arguments are those of `load_weights`.

    Raises:
        ConfigError: Names the path and what to do.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    refuse_as_policy(path)
    return load_weights(
        AutoModelForCausalLM,
        path,
        context=context,
        dtype=dtype,
        revision=revision,
        with_encoder=AutoModelForSeq2SeqLM,
    )


def check_context(
    config: PretrainedConfig | ArchitectureConfig, limits: Limits, name: str = "the model"
) -> None:
    """Stop before anything expensive if the longest sequence does not fit the context.

    Raises:
        ConfigError: With the numbers and the keys to change.
    """
    context = getattr(config, "max_position_embeddings", getattr(config, "context", None))
    require_context(context, limits, name)


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode (dropout off) without gradients inside the block; the mode is given back."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def position_ids(attention_mask: Tensor) -> Tensor:
    """Place of each token in its row, counting real tokens only. Shape as the mask, int64."""
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def forward_arguments(batch: GroupBatch) -> dict[str, Tensor]:
    """What a forward pass needs; positions only where padding on the left shifts them."""
    arguments = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask.long(),
    }
    if not bool(batch.attention_mask[:, 0].all()):
        arguments["position_ids"] = position_ids(batch.attention_mask)
    return arguments


def per_slot(values: Tensor, batch: GroupBatch) -> Tensor:
    """Spread one value per row, shape (R,), over the groups' slots; 0 in empty ones. (B, K)."""
    return torch.where(batch.mask, values[batch.rows.clamp(min=0)], values.new_zeros(()))


def sequence_logps(model: PreTrainedModel, batch: GroupBatch, temperature: float = 1.0) -> Tensor:
    """Log-probability of each response under the tempered model, differentiable.

    Args:
        model: A causal language model on the batch's device.
        batch: Groups from `collate`.
        temperature: The logits are divided by it. Positive.

    Returns:
        Nats, summed over response tokens (EOS included), never over prompt tokens; at least
        float32. 0 in empty slots. Shape (B, K).
    """
    tokens = token_logps_of_rows(model, batch, temperature)
    mask = batch.response_mask
    rows = tokens.new_zeros(mask.shape).masked_scatter(mask, tokens).sum(dim=-1)
    return per_slot(rows, batch)


def token_logps_of_rows(
    model: PreTrainedModel, batch: GroupBatch, temperature: float = 1.0
) -> Tensor:
    """Log-probability of each response token under the tempered model, differentiable.

    Arguments are those of `sequence_logps`.

    Returns:
        Nats, at least float32, response after response. Shape (S,).
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    first = int(batch.response_mask.any(dim=0).nonzero()[0])
    assert first >= 1, "a prompt has at least one token"
    # Column t predicts token t + 1: no logits are needed before the first response token's.
    kept = batch.input_ids.shape[1] - first + 1
    output = model(**forward_arguments(batch), logits_to_keep=kept, use_cache=False)
    mask = batch.response_mask[:, first:]
    logits = output.logits[:, -kept:-1][mask]  # (S, V): response tokens only
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    targets = batch.input_ids[:, first:][mask]
    return logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(dim=-1)
