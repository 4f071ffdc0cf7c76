"""What the methods on pairs log: the policy's implied rewards, in the names the field uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pair_metrics(policy_logps: Tensor, reference_logps: Tensor, beta: float) -> dict[str, Tensor]:
    """Return the implied rewards of both responses and how they compare.

    Args:
        policy_logps: log pi(y|x) of the chosen and the rejected response, nats. Shape (B, 2).
        reference_logps: the same under the reference policy. Shape (B, 2).
        beta: what the log-ratios are multiplied by.

    Returns:
        Named metrics per pair, without gradient. Each of shape (B,).
    """
    logps = policy_logps.detach()
    chosen, rejected = (beta * (logps - reference_logps)).unbind(dim=-1)
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(logps.dtype),
        "logps/chosen": logps[:, 0],
        "logps/rejected": logps[:, 1],
    }
