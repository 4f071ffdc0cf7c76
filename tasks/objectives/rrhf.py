"""RRHF: order the policy's own log-probabilities as the rewards order the responses."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_ndim,
    require_not_negative,
    require_same_shape,
    zero_outside,
)
from tasks.objectives.sft import rjs


def rrhf(
    policy_logps: Tensor,
    rewards: Tensor,
    lengths: Tensor,
    *,
    ranking_weight: float = 1.0,
    sft_weight: float = 1.0,
    length_normalize: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """Hinge over misordered pairs plus the negative log-likelihood of the best response.

    Both terms read the same scores p, so that their weights compare like with like.

    Args:
        policy_logps: log pi(y|x) of each response, nats. Shape (B, K).
        rewards: Reward of each response; only their order counts. Shape (B, K).
        lengths: Response tokens of each response, at least 1. Shape (B, K).
        ranking_weight: Weight of the hinge, not negative. RRHF's own code has 100.
        sft_weight: Weight of the likelihood, the paper's lambda, not negative.
        length_normalize: Let p be nats per token, as RRHF does, rather than the sums of eq. 5.
        mask: Which slots hold a response. Bool, shape (B, K); None: all of them.

    Returns:
        Loss per group: ranking_weight * sum of max(0, p_i - p_j) - sft_weight * p_best, the sum
        over pairs in which i is worth less than j. Shape (B,).

    Raises:
        ValueError: As `rrhf_terms`, or a weight is negative.

    Source:
        Eq. 5, arXiv 2311.08045 (APO); its leading minus belongs to the second term alone.
        arXiv 2304.05302 (RRHF).

    Example:
        The better response is 1 nat per token less likely; it has -2 nats per token.

        >>> import torch
        >>> logps, lengths = torch.tensor([[-6.0, -2.0]]), torch.tensor([[3, 2]])
        >>> rrhf(logps, torch.tensor([[1.0, 0.0]]), lengths, ranking_weight=100, sft_weight=0.5)
        tensor([101.])
    """
    require_not_negative(ranking_weight=ranking_weight, sft_weight=sft_weight)
    ranking, likelihood = rrhf_terms(
        policy_logps, rewards, lengths, length_normalize=length_normalize, mask=mask
    )
    return ranking_weight * ranking + sft_weight * likelihood


def rrhf_terms(
    policy_logps: Tensor,
    rewards: Tensor,
    lengths: Tensor,
    *,
    length_normalize: bool = True,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The two terms of `rrhf` apart and without weights, so that both can be logged.

    Arguments, their shapes and units are those of `rrhf`.

    Returns:
        The ranking term, a sum over pairs with unequal rewards, and -p of the best response (the
        first of equals). Both in nats per token, or per response without `length_normalize`. Each
        of shape (B,), 0 for a group that has nothing to compare or to imitate.

    Raises:
        ValueError: The shapes differ or are not (B, K), the mask is not bool, or a real
            response has no token while lengths are used.

    Source:
        Eq. 5, arXiv 2311.08045 (APO).

    Example:
        >>> import torch
        >>> logps, lengths = torch.tensor([[-6.0, -2.0]]), torch.tensor([[3, 2]])
        >>> rrhf_terms(logps, torch.tensor([[1.0, 0.0]]), lengths)
        (tensor([1.]), tensor([2.]))
    """
    require_same_shape(policy_logps=policy_logps, rewards=rewards, lengths=lengths)
    require_ndim(2, policy_logps=policy_logps)
    mask = full_mask(mask, policy_logps)
    scores = zero_outside(raised(policy_logps), mask)
    if length_normalize:
        if bool((mask & ~(lengths > 0)).any()):
            shortest = lengths[mask].min().item()
            raise ValueError(f"a real response must have at least one token, got length {shortest}")
        scores = scores / torch.where(mask, lengths, torch.ones_like(lengths)).to(scores.dtype)

    both_real = mask.unsqueeze(2) & mask.unsqueeze(1)
    better = both_real & (rewards.unsqueeze(2) > rewards.unsqueeze(1))  # (B, K, K): i above j
    shortfall = zero_outside(scores.unsqueeze(1) - scores.unsqueeze(2), better)  # p_j - p_i
    return shortfall.relu().sum(dim=(1, 2)), rjs(scores, rewards, mask=mask)
