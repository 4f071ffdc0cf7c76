"""What is read from logits, straight from hidden states, for a chunk of the places at a time.

Logits exist for one chunk of scored tokens at a time, forward and backward; unless they are few,
they are computed again for the gradient. Memory does not grow with the tokens that nobody scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Reading = Callable[[Tensor, Tensor], Tensor]
"""Logits, shape (n, V), and targets, shape (n,), to C numbers for each place, shape (n, C)."""

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


def token_readings(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    reading: Reading,
    *,
    chunk_bytes: int = _CHUNK_BYTES,
) -> Tensor:
    """Read numbers from the logits of each place, whatever they are, differentiable.

    `token_logps` is the faster one of the two for log-probabilities alone.

    Args:
        hidden: Last hidden state at the places that predict the targets. Shape (S, H).
        weight: Output embedding. Shape (V, H).
        bias: Its bias, or None. Shape (V,).
        targets: Token ids in [0, V). Shape (S,), int64.
        reading: What is read from a place's logits; it reads each place by itself.
        chunk_bytes: The most memory for logits at a time.

    Returns:
        C numbers for each place; computed in at least float32. Shape (S, C).

    Example:
        >>> hidden, weight = torch.zeros(1, 2), torch.zeros(4, 2)
        >>> token_readings(hidden, weight, None, torch.tensor([3]), target_and_logsumexp).exp()
        tensor([[1., 4.]])
    """
    result: Tensor = _TokenReadings.apply(hidden, weight, bias, targets, reading, chunk_bytes)
    return result


def target_and_logsumexp(logits: Tensor, targets: Tensor) -> Tensor:
    """Read the target's own logit and the log of the sum over all. (n, V), (n,) to (n, 2)."""
    own = logits.gather(-1, targets[:, None])[:, 0]
    return torch.stack([own, logits.logsumexp(dim=-1)], dim=-1)


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
        ctx.temperature, ctx.softcap = temperature, softcap
        states, table, bias = _prepare(ctx, hidden, weight, bias, chunk_bytes)
        exact = torch.promote_types(table.dtype, torch.float32)
        logps = torch.empty(targets.shape, dtype=exact, device=hidden.device)
        logits = None
        with torch.autocast(hidden.device.type, enabled=False):
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
        exact, device = gradient.dtype, states.device
        sums = of_states, of_table, of_bias = _empty_sums(states, table, exact)
        with torch.autocast(device.type, enabled=False):
            for here in _slices(0, len(targets), ctx.rows):
                logits = _logits(states[here], table, bias, kept)
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
        return (*_asked_for(ctx, sums), *(None,) * 4)


class _TokenReadings(torch.autograd.Function):
    """reading(h Wᵀ + b); its gradient is that of the reading, taken by autograd, by the table."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        reading: Reading,
        chunk_bytes: int,
    ) -> Tensor:
        ctx.reading = reading
        states, table, bias = _prepare(ctx, hidden, weight, bias, chunk_bytes)
        exact = torch.promote_types(table.dtype, torch.float32)
        found, logits = [], None
        with torch.autocast(hidden.device.type, enabled=False):
            for chunk in _slices(0, len(targets), ctx.rows):
                logits = torch.nn.functional.linear(states[chunk], table, bias)
                for here in _slices(0, len(logits), _ROWS_AT_ONCE):
                    found.append(reading(logits[here].to(exact), targets[chunk][here]))
        kept = logits if len(targets) <= ctx.rows else None
        ctx.save_for_backward(states, table, bias, targets, kept)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, table, bias, targets, kept = ctx.saved_tensors
        wants_states, wants_table, wants_bias = ctx.needs_input_grad[:3]
        exact, device = gradient.dtype, states.device
        sums = of_states, of_table, of_bias = _empty_sums(states, table, exact)
        with torch.autocast(device.type, enabled=False):
            for chunk in _slices(0, len(targets), ctx.rows):
                logits = _logits(states[chunk], table, bias, kept)
                slopes = torch.empty_like(logits)
                for here in _slices(0, len(logits), _ROWS_AT_ONCE):
                    rows = logits[here].to(exact), targets[chunk][here]
                    some = _slopes(ctx.reading, *rows, gradient[chunk][here])
                    slopes[here] = some
                    of_bias += some.sum(dim=0)
                if wants_states:
                    of_states[chunk] = (slopes @ table).to(exact)
                if wants_table:
                    of_table += slopes.T @ states[chunk]
        return (*_asked_for(ctx, sums), *(None,) * 3)


def _empty_sums(states: Tensor, table: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return where the gradients of states, table and bias add up."""
    shapes = states.shape, table.shape, table.shape[:1]
    return [torch.zeros(shape, dtype=dtype, device=states.device) for shape in shapes]


def _logits(states: Tensor, table: Tensor, bias: Tensor | None, kept: Tensor | None) -> Tensor:
    """Return the logits of a chunk: those that the forward pass kept, or computed once more."""
    return torch.nn.functional.linear(states, table, bias) if kept is None else kept


def _slopes(reading: Reading, logits: Tensor, targets: Tensor, gradient: Tensor) -> Tensor:
    """The gradient that a reading gives back to its logits. Shape (n, V)."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        return torch.autograd.grad(reading(leaf, targets), leaf, gradient)[0]


def _prepare(
    ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk_bytes: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bring a head and its states to the type that computes; note types, and rows of a chunk."""
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    ctx.types = hidden.dtype, weight.dtype, bias.dtype if bias is not None else None
    ctx.rows = max(_ROWS_AT_ONCE, chunk_bytes // (weight.shape[0] * dtype.itemsize))
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _asked_for(ctx: Any, gradients: list[Tensor]) -> list[Tensor | None]:
    """The gradients that are asked for, in the types of what they are of."""
    asked = zip(gradients, ctx.types, ctx.needs_input_grad, strict=False)
    return [found.to(dtype) if wanted else None for found, dtype, wanted in asked]


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
