"""Objectives of a reward model: which response of a group should score higher."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_ndim,
    require_same_shape,
    zero_outside,
)


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Negative log-likelihood of the annotator's choice between two responses.

    Args:
        chosen: reward of the preferred response, reward units. Shape (B,).
        rejected: reward of the other response. Shape (B,).

    Returns:
        Loss per pair, nats, never negative. Shape (B,).

    Raises:
        ValueError: if the shapes differ.

    Source:
        Eq. 1, arXiv 2311.08045 (APO); section 2.1, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> bradley_terry(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0])).round(decimals=4)
        tensor([0.6931, 0.1269])
    """
    require_same_shape(chosen=chosen, rejected=rejected)
    return -logsigmoid(raised(chosen) - raised(rejected))


def ranking(rewards: Tensor, scores: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Bradley–Terry averaged over all ordered pairs of a group.

    Tied scores make no pair; a group without an ordered pair has the loss 0.

    Args:
        rewards: what the model gives each response, reward units. Shape (B, K).
        scores: what the annotator gave; only their order counts. Shape (B, K).
        mask: which slots hold a response. Bool, shape (B, K); None: all of them.

    Returns:
        Loss per group, nats, never negative. Shape (B,).

    Raises:
        ValueError: if the shapes differ, the tensors are not (B, K) or the mask is not bool.

    Source:
        Eq. 1, arXiv 2311.08045 (APO), for K responses.

    Example:
        The pairs of the scores (2, 1, 1) are (0, 1) and (0, 2); the tie makes none.

        >>> import torch
        >>> ranking(torch.tensor([[2.0, 0.0, 2.0]]), torch.tensor([[2, 1, 1]])).round(decimals=4)
        tensor([0.4100])
    """
    require_same_shape(rewards=rewards, scores=scores)
    require_ndim(2, rewards=rewards)
    mask = full_mask(mask, rewards)
    rewards = zero_outside(raised(rewards), mask)

    both_real = mask.unsqueeze(2) & mask.unsqueeze(1)
    ordered = both_real & (scores.unsqueeze(2) > scores.unsqueeze(1))  # (B, K, K): i above j
    margins = zero_outside(rewards.unsqueeze(2) - rewards.unsqueeze(1), ordered)
    losses = zero_outside(-logsigmoid(margins), ordered)
    pairs = ordered.sum(dim=(1, 2))
    return losses.sum(dim=(1, 2)) / pairs.where(pairs > 0, 1)  # the sum is 0 where there is no pair
