"""Imitation: fine-tuning on given responses, or on the best of the policy's own samples."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_ndim,
    require_same_shape,
    zero_outside,
)


def sft(policy_logps: Tensor) -> Tensor:
    """Negative log-likelihood of the given responses.

    Args:
        policy_logps: log pi(y|x), nats, summed over response tokens. Shape (B,).

    Returns:
        Loss per response, nats. Shape (B,).

    Source:
        Supervised fine-tuning; on golden responses it is Alpaca-Golden of arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> sft(torch.tensor([-2.5, -1.0]))
        tensor([2.5000, 1.0000])
    """
    return -raised(policy_logps)


def rjs(policy_logps: Tensor, rewards: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the sample with the highest reward (RJS, RAFT, best-of-N tuning).

    Args:
        policy_logps: log pi(y|x) of each sample, nats. Shape (B, K).
        rewards: reward of each sample; only their order counts. Shape (B, K).
        mask: which slots hold a sample. Bool, shape (B, K); None: all of them.

    Returns:
        Loss per group, nats; of equal rewards the first sample counts; 0 for an empty group. Shape
        (B,).

    Raises:
        ValueError: if the shapes differ or are not (B, K), or the mask is not bool.

    Source:
        Eq. 6, arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> rjs(torch.tensor([[-3.0, -1.0, -2.0]]), torch.tensor([[0.1, 0.4, 0.9]]))
        tensor([2.])
    """
    require_same_shape(policy_logps=policy_logps, rewards=rewards)
    require_ndim(2, policy_logps=policy_logps)
    mask = full_mask(mask, policy_logps)
    return zero_outside(-raised(policy_logps), _first_best(rewards, mask)).sum(dim=1)


def _first_best(rewards: Tensor, mask: Tensor) -> Tensor:
    """True at the first real slot with the highest reward of its group, if it has one. (B, K)."""
    low = float("-inf")
    contenders = raised(rewards.detach()).masked_fill(~mask, low)
    # One more column, so that a group of no slots has a highest reward too.
    highest = pad(contenders, (0, 1), value=low).amax(dim=1, keepdim=True)
    best = mask & (contenders == highest)
    return best & (best.cumsum(dim=1) == 1)
