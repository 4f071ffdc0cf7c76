"""Rejection sampling (RAFT, best-of-n fine-tuning): imitate the best of a prompt's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.groups import Group
from tasks.data.selection import keep_responses
from tasks.training.methods.method import GroupMethod, NoCoefficients, require_scores

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.training.methods.method import LossAndMetrics


def _select(group: Group) -> list[Group]:
    scores = require_scores(group, "rjs")
    # The first of equally good responses, as argmax has it.
    return [keep_responses(group, [scores.index(max(scores))])]


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: NoCoefficients,
) -> LossAndMetrics:
    from tasks.objectives.sft import rjs

    losses = rjs(policy_logps, rewards, mask=mask)
    return losses, {"rewards/best": rewards.masked_fill(~mask, float("-inf")).amax(dim=-1)}


RJS = GroupMethod(name="rjs", title="RJS", aliases=("raft",), select=_select, loss=_loss)
