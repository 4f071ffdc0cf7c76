"""Log-probabilities of given tokens straight from hidden states, in chunks of the vocabulary table.

Logits exist for one chunk of scored tokens at a time, forward and backward; unless they are few,
they are computed again for the gradient. Memory does not grow with the tokens that nobody scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.models.prompt_sharing_check import logit_scale

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK_BYTES = 64 << 20
_ROWS_AT_ONCE = 64  # rows raised to float32 at a time: they stay in the processor's cache


def token_logps(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperature: float = 1.0,
    *,
    softcap: float | None = None,
    chunk_bytes: int = _CHUNK_BYTES,
) -> Tensor:
    """Log-probability of each target under the tempered softmax, differentiable.

    Args:
        hidden: Last hidden state at the places that predict the targets. Shape (S, H).
        weight: Output embedding. Shape (V, H).
        bias: Its bias, or None. Shape (V,).
        targets: Token ids in [0, V). Shape (S,), int64.
        temperature: Logits are divided by it. Positive.
        softcap: C of c · tanh(logit / c), before the temperature; None leaves logits as they are.
        chunk_bytes: The most memory for logits at a time.

    Returns:
        Nats; reduced in at least float32. Shape (S,).

    Raises:
        ValueError: The temperature is not positive.

    Example:
        >>> hidden, weight = torch.zeros(1, 2), torch.zeros(4, 2)
        >>> token_logps(hidden, weight, None, torch.tensor([3])).exp()
        tensor([0.2500])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    numbers = temperature, softcap, chunk_bytes
    result: Tensor = _TokenLogps.apply(hidden, weight, bias, targets, *numbers)
    return result


def head_logps(
    model: PreTrainedModel, states: Tensor, targets: Tensor, temperature: float
) -> Tensor:
    """Log-probability of each target under a language model's own output embedding.

    With what models do to their logits besides: biases of their own, scales, softcaps.

    Args:
        model: Whose head is a `Linear`.
        states: Its last hidden states at the places that predict the targets. Shape (S, H).
        targets: Token ids. Shape (S,), int64.
        temperature: Logits are divided by it. Positive.

    Returns:
        Nats, at least float32. Shape (S,).

    Raises:
        NotImplementedError: The head is something else.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        raise NotImplementedError(f"the output embedding is a {type(head).__name__}")
    bias = head.bias
    extra = getattr(model, "final_logits_bias", None)  # of BART, Marian and their like
    if extra is not None:
        bias = extra[0] if bias is None else bias + extra[0]
    softcap = getattr(model.config, "final_logit_softcapping", None)
    temperature = temperature / logit_scale(model.config)

    def scored(states: Tensor) -> Tensor:
        return token_logps(states, head.weight, bias, targets, temperature, softcap=softcap)

    # Called as the module it is, so that whoever gathers or shards its weights is asked.
    head.forward = scored
    try:
        result: Tensor = head(states)
        return result
    finally:
        del head.forward


class _TokenLogps(torch.autograd.Function):
    """log softmax(h Wᵀ / τ)[target]; its gradient is g · (onehot − softmax) / τ."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        softcap: float | None,
        chunk_bytes: int,
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        ctx.types = hidden.dtype, weight.dtype, bias.dtype if bias is not None else None
        ctx.temperature, ctx.softcap = temperature, softcap
        ctx.rows = max(_ROWS_AT_ONCE, chunk_bytes // (weight.shape[0] * dtype.itemsize))
        states, table = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
        exact = torch.promote_types(dtype, torch.float32)
        logps = torch.empty(targets.shape, dtype=exact, device=hidden.device)
        logits = None
        with torch.autocast(kind, enabled=False):
            for chunk in _slices(0, len(targets), ctx.rows):
                logits = torch.nn.functional.linear(states[chunk], table, bias)
                for here in _slices(chunk.start, chunk.stop, _ROWS_AT_ONCE):
                    some = logits[here.start - chunk.start : here.stop - chunk.start].to(exact)
                    some = _tempered(some, temperature, softcap)[0].log_softmax(dim=-1)
                    logps[here] = some.gather(-1, targets[here, None])[:, 0]
        kept = logits if len(targets) <= ctx.rows else None
        ctx.save_for_backward(states, table, bias, targets, kept)
        return logps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, table, bias, targets, kept = ctx.saved_tensors
        wants_states, wants_table, wants_bias = ctx.needs_input_grad[:3]
        exact = gradient.dtype
        of_states = torch.empty(states.shape, dtype=exact, device=states.device)
        of_table = torch.zeros(table.shape, dtype=exact, device=states.device)
        of_bias = torch.zeros(len(table), dtype=exact, device=states.device)
        with torch.autocast(states.device.type, enabled=False):
            for here in _slices(0, len(targets), ctx.rows):
                logits = kept
                if logits is None:
                    logits = torch.nn.functional.linear(states[here], table, bias)
                logits, slopes = _tempered(logits, ctx.temperature, ctx.softcap)
                probs = logits.softmax(dim=-1)
                factors = gradient[here, None] / ctx.temperature
                # The share of a target's own logit; of the others it is in `probs`.
                own = factors
                if slopes is not None:
                    probs = probs * slopes
                    own = factors * slopes.gather(-1, targets[here, None])
                raised = states[here].to(exact)
                if wants_states:
                    of_states[here] = table[targets[here]] * own - (probs @ table) * factors
                if wants_table:
                    of_table -= probs.T @ (raised * factors).to(probs.dtype)
                    of_table.index_add_(0, targets[here], raised * own)
                if wants_bias:
                    of_bias -= (probs.to(exact) * factors).sum(dim=0)
                    of_bias.index_add_(0, targets[here], own[:, 0])
        types = ctx.types
        return (
            of_states.to(types[0]) if wants_states else None,
            of_table.to(types[1]) if wants_table else None,
            of_bias.to(types[2]) if wants_bias else None,
            *(None,) * 4,
        )


def _slices(start: int, stop: int, step: int) -> Iterator[slice]:
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def _tempered(
    logits: Tensor, temperature: float, softcap: float | None
) -> tuple[Tensor, Tensor | None]:
    """Bend the logits, divide them by the temperature; return also the slopes of the bend."""
    slopes = None
    if softcap is not None:
        bent = (logits / softcap).tanh()
        logits, slopes = bent * softcap, 1 - bent.square()
    return logits if temperature == 1 else logits / temperature, slopes
