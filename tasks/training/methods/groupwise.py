"""What the methods on K scored responses share: their coefficients, and what they log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.settings.base import FrozenConfig

if TYPE_CHECKING:
    from torch import Tensor


class GroupwiseConfig(FrozenConfig):
    """Coefficients of a match between the policy's and the rewards' choice among K responses."""

    beta_pi: float = Field(default=0.5, gt=0)
    """How sharply log-ratios are read as a choice. Default 0.5: arXiv 2402.00856 on all its data
    but IMDB (0.1)."""

    beta_r: float = Field(default=0.1, gt=0)
    """Reward units per nat: how softly rewards choose. The optimum is that of
    beta = beta_pi * beta_r. Default 0.1: arXiv 2402.00856."""

    responses: int | None = Field(default=None, ge=2)
    """K: train on the first so many responses of each prompt. Default: all there are (the paper:
    4 or 8)."""


def choice_metrics(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    mask: Tensor,
    coefficients: GroupwiseConfig,
) -> dict[str, Tensor]:
    """Return how the policy's choice p_f among K responses compares with the rewards' p_r.

    Args:
        policy_logps: log pi(y|x), nats. Shape (B, K).
        reference_logps: the same under the reference policy. Shape (B, K).
        rewards: reward of each response, reward units. Shape (B, K).
        mask: which slots hold a response. Bool, shape (B, K).
        coefficients: beta_pi and beta_r.

    Returns:
        Divergence and entropies in nats, the weight p_f gives to the best response, and whether
        that is its largest. Named metrics per group, without gradient. Each of shape (B,).
    """
    from tasks.objectives.exo import log_choices

    log_policy, log_reward = log_choices(
        policy_logps.detach(),
        reference_logps,
        rewards,
        beta_pi=coefficients.beta_pi,
        beta_r=coefficients.beta_r,
        mask=mask,
    )
    share, target = log_policy.exp(), log_reward.exp()
    best = rewards.masked_fill(~mask, float("-inf")).argmax(dim=-1, keepdim=True)
    of_best = share.gather(-1, best).squeeze(-1)
    largest = share.masked_fill(~mask, 0).amax(dim=-1)
    return {
        "kl/p_f_p_r": (share * (log_policy - log_reward)).sum(dim=-1),
        "entropy/p_f": -(share * log_policy).sum(dim=-1),
        "entropy/p_r": -(target * log_reward).sum(dim=-1),
        "p_f/best": of_best,
        "rewards/accuracies": (of_best == largest).to(share.dtype),
    }
