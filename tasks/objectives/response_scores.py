"""One score of a response from rewards of its tokens, and Preference Transformer's use of it.

Everything may have further dimensions before the last one, such as (B, K, T).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_choice,
    require_same_shape,
    zero_outside,
)
from tasks.objectives.reward import bradley_terry


class TokenRewards(NamedTuple):
    """Rewards of one response per row; all of shape (B, T)."""

    rewards: Tensor
    """Weighted reward of each position, or its mean, reward units."""

    weights: Tensor
    """What it was multiplied with, as `reward_weights` gives it in either scale; ones for none."""

    action_mask: Tensor
    """Bool: the positions of the response, where one of its tokens is chosen."""


def last_score(rewards: Tensor, action_mask: Tensor) -> Tensor:
    """Score a response by the reward of its last action, before which all of its text was seen.

    Args:
        rewards: Weighted reward of each position, or its mean, reward units. Shape (B, T).
        action_mask: Where a token of the response, its end included, is chosen. Bool, shape (B, T).

    Returns:
        Scores, reward units; 0 for a row without a position. Shape (B,).

    Raises:
        ValueError: if the mask is not bool or has another shape.

    Source:
        Eq. 18, arXiv 2411.09341 (AVA).

    Example:
        >>> import torch
        >>> rewards = torch.tensor([[0.1, 0.2, 0.3, 9.0]])
        >>> last_score(rewards, torch.tensor([[False, True, True, False]]))
        tensor([0.3000])
    """
    mask = full_mask(action_mask, rewards)
    last = mask & (mask.cumsum(dim=-1) == mask.sum(dim=-1, keepdim=True))
    return zero_outside(raised(rewards), last).sum(dim=-1)


def return_score(
    rewards: Tensor,
    weights: Tensor,
    action_mask: Tensor,
    *,
    return_scale: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Score a response by all of its rewards.

    Args:
        rewards: Weighted reward of each position, or its mean, reward units. Shape (B, T).
        weights: What it was multiplied with, as in `TokenRewards`. Not negative, shape (B, T).
        action_mask: Where a token of the response, its end included, is chosen. Bool, shape (B, T).
        return_scale: `mean`: the weighted mean, the same for a text of twice the length; `sum`:
            that times the number of positions, the return as AVA prints it, which grows with them.

    Returns:
        Scores, reward units, whatever the scale of the weights; 0 for a row without a position.
        Shape (B,).

    Raises:
        ValueError: if shapes differ, the mask is not bool or the scale is unknown.

    Source:
        Eq. 19, arXiv 2411.09341 (AVA), is `sum`; Preference Transformer, arXiv 2303.00957, `mean`.

    Example:
        Rewards 1 and 3 with the weights 0.5 and 1.5:

        >>> import torch
        >>> rewards, weights = torch.tensor([[0.5, 4.5]]), torch.tensor([[0.5, 1.5]])
        >>> real = torch.ones(1, 2, dtype=torch.bool)
        >>> return_score(rewards, weights, real)
        tensor([2.5000])
        >>> return_score(rewards, weights, real, return_scale="sum")
        tensor([5.])
    """
    require_same_shape(rewards=rewards, weights=weights)
    require_choice(("mean", "sum"), return_scale=return_scale)
    mask = full_mask(action_mask, rewards)
    total, weight = (zero_outside(raised(p), mask).sum(dim=-1) for p in (rewards, weights))
    mean = total / weight.where(weight > 0, 1)
    return mean if return_scale == "mean" else mask.sum(dim=-1) * mean


def preference_transformer(chosen: TokenRewards, rejected: TokenRewards) -> Tensor:
    """Bradley–Terry between two responses that are scored by the weighted mean of their rewards.

    Args:
        chosen: Rewards of the preferred response of each pair. Rows: B.
        rejected: Rewards of the other one; its T may differ.

    Returns:
        Loss per pair, nats, never negative. Shape (B,).

    Raises:
        ValueError: as `return_score`, or if the numbers of rows differ.

    Source:
        Preference Transformer, arXiv 2303.00957; "Pref-Trans" of arXiv 2411.09341 (AVA).

    Example:
        The scores are 2.5 and 0.5, so that the loss is log(1 + e⁻²).

        >>> import torch
        >>> real, weights = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.5, 1.5]])
        >>> chosen = TokenRewards(weights * torch.tensor([[1.0, 3.0]]), weights, real)
        >>> rejected = TokenRewards(weights * torch.tensor([[2.0, 0.0]]), weights, real)
        >>> preference_transformer(chosen, rejected).round(decimals=4)
        tensor([0.1269])
    """
    return bradley_terry(return_score(*chosen), return_score(*rejected))
