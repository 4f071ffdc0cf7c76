"""DPO on rewards: the rewards' choice among K responses is what the policy's is fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.training.methods.groupwise import GroupwiseConfig, choice_metrics
from tasks.training.methods.method import Method
from tasks.training.methods.selection import all_if_scores_differ

if TYPE_CHECKING:
    from torch import Tensor


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: GroupwiseConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    from tasks.objectives.dpo import dpo_rw

    assert reference_logps is not None, (
        "the caller computes the reference of a method that needs it"
    )
    losses = dpo_rw(
        policy_logps,
        reference_logps,
        rewards,
        beta_pi=coefficients.beta_pi,
        beta_r=coefficients.beta_r,
        mask=mask,
    )
    return losses, choice_metrics(policy_logps, reference_logps, rewards, mask, coefficients)


DPO_RW = Method(
    name="dpo_rw",
    select=all_if_scores_differ,
    loss=_loss,
    aliases=("dpo-rw",),
    needs_reference=True,
    min_responses=2,
    coefficients=GroupwiseConfig,
)
