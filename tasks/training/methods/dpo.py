"""Direct preference optimisation on the best and the worst response of each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import Method
from tasks.training.methods.pairwise import pair_metrics
from tasks.training.methods.selection import best_against_worst

if TYPE_CHECKING:
    from torch import Tensor


class DpoConfig(FrozenConfig):
    """Coefficients of DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How sharply log-ratios are read as a choice. Default 0.1: arXiv 2305.18290."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Chance that a preference was given the wrong way round (conservative DPO)."""


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: DpoConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    from tasks.objectives.dpo import dpo

    assert reference_logps is not None, (
        "the caller computes the reference of a method that needs it"
    )
    losses = dpo(
        policy_logps,
        reference_logps,
        beta=coefficients.beta,
        label_smoothing=coefficients.label_smoothing,
    )
    return losses, pair_metrics(policy_logps, reference_logps, coefficients.beta)


DPO = Method(
    name="dpo",
    select=best_against_worst,
    loss=_loss,
    aliases=("sigmoid",),
    needs_reference=True,
    min_responses=2,
    coefficients=DpoConfig,
)
