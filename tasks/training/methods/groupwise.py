"""What the methods on K scored responses share: coefficients, the form of their loss, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import RESPONSES, Sweepable

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.training.methods.method import Loss, LossAndMetrics


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


GROUPWISE_SWEEP = (
    Sweepable("beta_pi", "β_π", 0.5),
    Sweepable("beta_r", "β_r", 0.1),
    Sweepable(RESPONSES, "K"),
)
"""What the flow `exo` may try of these coefficients."""
GROUPWISE_OPTIMUM = ("beta_pi", "beta_r")
"""Whose product is β of the optimum."""


def choice_loss(objective: Callable[..., Tensor]) -> Loss:
    """Return the loss of a method that fits the policy's choice among K responses to the rewards'.

    Args:
        objective: Maps (policy_logps, reference_logps, rewards), (B, K) each, and the keywords
            beta_pi, beta_r and mask to the loss per group (B,).
    """

    def loss(
        policy_logps: Tensor,
        reference_logps: Tensor | None,
        rewards: Tensor,
        lengths: Tensor,
        mask: Tensor,
        coefficients: GroupwiseConfig,
    ) -> LossAndMetrics:
        assert reference_logps is not None, "the caller computes it for methods that need it"
        losses = objective(
            policy_logps,
            reference_logps,
            rewards,
            beta_pi=coefficients.beta_pi,
            beta_r=coefficients.beta_r,
            mask=mask,
        )
        return losses, choice_metrics(policy_logps, reference_logps, rewards, mask, coefficients)

    return loss


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
        reference_logps: The same under the reference policy. Shape (B, K).
        rewards: Reward of each response, reward units. Shape (B, K).
        mask: Which slots hold a response. Bool, shape (B, K).
        coefficients: The method's beta_pi and beta_r.

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
