"""The small checks and preparations at the door of every objective."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def require_same_shape(**tensors: Tensor) -> None:
    """Refuse tensors whose shapes differ, so that nothing is broadcast by accident.

    Raises:
        ValueError: naming every tensor and its shape.
    """
    if len({tuple(tensor.shape) for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"expected tensors of one shape, got {shapes}")


def require_ndim(ndim: int, **tensors: Tensor) -> None:
    """Refuse tensors that do not have `ndim` dimensions.

    Raises:
        ValueError: naming the first tensor that has another number of dimensions.
    """
    for name, tensor in tensors.items():
        if tensor.ndim != ndim:
            raise ValueError(
                f"{name} must have {ndim} dimension(s), got {tensor.ndim}: {tuple(tensor.shape)}"
            )


def require_pairs(**tensors: Tensor) -> None:
    """Refuse tensors that are not pairs, (B, 2) with the chosen response in column 0.

    Raises:
        ValueError: naming the first tensor that is not of shape (B, 2).
    """
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or tensor.shape[1] != 2:
            raise ValueError(f"{name} must have shape (B, 2), got {tuple(tensor.shape)}")


def require_positive(**numbers: float) -> None:
    """Refuse coefficients that are not finite and above zero.

    Raises:
        ValueError: naming the coefficient and its value.
    """
    for name, number in numbers.items():
        if not 0 < number < float("inf"):
            raise ValueError(f"{name} must be positive and finite, got {number}")


def require_not_negative(**numbers: float) -> None:
    """Refuse coefficients that are not finite and at least zero.

    Raises:
        ValueError: naming the coefficient and its value.
    """
    for name, number in numbers.items():
        if not 0 <= number < float("inf"):
            raise ValueError(f"{name} must be finite and not negative, got {number}")


def require_share(**numbers: float) -> None:
    """Refuse coefficients that are not between 0 and 1, both included.

    Raises:
        ValueError: naming the coefficient and its value.
    """
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {number}")


def require_at_least(least: int, **counts: int) -> None:
    """Refuse counts below `least`.

    Raises:
        ValueError: naming the count and its value.
    """
    for name, count in counts.items():
        if count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")


def require_choice(known: Sequence[str], **choices: str) -> None:
    """Refuse a name that is none of the known ones.

    Raises:
        ValueError: naming the parameter, what was got and what can be chosen.
    """
    for name, choice in choices.items():
        if choice not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {choice!r}")


def full_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """Return the mask of `like`: the given one, checked, or all True.

    Args:
        mask: bool, True = real, of the shape of `like`; None says that everything is real.
        like: the tensor that the mask belongs to.

    Raises:
        ValueError: if the mask is not bool or has another shape.
    """
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask must be bool with True = real, got {mask.dtype}")
    require_same_shape(mask=mask, values=like)
    return mask


def raised(tensor: Tensor) -> Tensor:
    """Return `tensor` in float32 if its dtype is narrower (or integer), else as it is.

    The gradient flows back in the tensor's own dtype.
    """
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def zero_outside(tensor: Tensor, mask: Tensor) -> Tensor:
    """Return `tensor` with zeros outside `mask`, whatever stood there.

    Multiplying by the mask would turn inf into nan; selecting does not, and gives those slots no
    gradient.
    """
    return torch.where(mask, tensor, torch.zeros_like(tensor))


def log_shares(values: Tensor, mask: Tensor) -> Tensor:
    """Return the log-softmax of each row over its real slots.

    Args:
        values: one number per slot; what stands outside the mask counts nowhere. Shape (B, K).
        mask: which slots are real. Bool, the same shape.

    Returns:
        Log-shares, nats, 0 outside the mask. Shape (B, K), the values' dtype.
    """
    # A row without a real slot would be all -inf, whose softmax is nan; zeros do no harm there.
    kept = mask | ~mask.any(dim=-1, keepdim=True)
    filled = torch.where(kept, zero_outside(values, mask), float("-inf"))
    return zero_outside(filled.log_softmax(dim=-1), mask)
