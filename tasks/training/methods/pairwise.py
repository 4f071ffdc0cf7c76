"""What the methods on pairs share: the form of their loss, and the metrics the field logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.training.methods.method import Loss, LossAndMetrics


def pair_loss(objective: Callable[[Tensor, Tensor, Any], Tensor], *, beta: str) -> Loss:
    """Return the loss of a method on pairs, which logs the implied rewards.

    Args:
        objective: Maps (policy_logps (B, 2), reference_logps (B, 2), coefficients), the chosen
            response first, to the loss per pair (B,).
        beta: Name of the coefficient that multiplies the log-ratios.
    """

    def loss(
        policy_logps: Tensor,
        reference_logps: Tensor | None,
        rewards: Tensor,
        lengths: Tensor,
        mask: Tensor,
        coefficients: Any,
    ) -> LossAndMetrics:
        assert reference_logps is not None, "the caller computes it for methods that need it"
        losses = objective(policy_logps, reference_logps, coefficients)
        return losses, _pair_metrics(policy_logps, reference_logps, getattr(coefficients, beta))

    return loss


def _pair_metrics(policy_logps: Tensor, reference_logps: Tensor, beta: float) -> dict[str, Tensor]:
    """The implied rewards of both responses and how they compare, without gradient. (B,) each."""
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
