"""Direct preference optimisation on the best and the worst response of each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.data.groups import Group
from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import Method, keep_responses, require_scores

if TYPE_CHECKING:
    from torch import Tensor


class DpoConfig(FrozenConfig):
    """Coefficients of DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How sharply log-ratios are read as a choice. Default 0.1: arXiv 2305.18290."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Chance that a preference was given the wrong way round (conservative DPO)."""


def _select(group: Group) -> list[Group]:
    scores = require_scores(group, "dpo", at_least=2)
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    # Where all scores tie there is no preference to learn.
    return [] if best == worst else [keep_responses(group, [best, worst])]


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
    logps = policy_logps.detach()
    # DPO's implicit reward, in the names the field logs it under.
    chosen, rejected = (coefficients.beta * (logps - reference_logps)).unbind(dim=-1)
    return losses, {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(logps.dtype),
        "logps/chosen": logps[:, 0],
        "logps/rejected": logps[:, 1],
    }


DPO = Method(
    name="dpo",
    select=_select,
    loss=_loss,
    aliases=("sigmoid",),
    needs_reference=True,
    min_responses=2,
    coefficients=DpoConfig,
)
