"""RRHF: rank the responses of a prompt as their rewards do, and imitate the best one."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from tasks.data.groups import Group
from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import GroupMethod, require_scores

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.training.methods.method import LossAndMetrics


class RrhfConfig(FrozenConfig):
    """Coefficients of RRHF."""

    ranking_weight: float = Field(default=100.0, ge=0)
    """Weight of the ranking term. Default 100: RRHF's own code, with learning rates around 1e-6;
    small models at larger ones want less. 0 leaves rejection sampling."""

    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the imitation term. Default 1: arXiv 2304.05302; 0 lets the policy degenerate."""

    length_normalize: bool = True
    """Rank and imitate by log-probability per token, as RRHF does; false: by its sum in both
    terms, APO's eq. 5 to the letter."""

    @model_validator(mode="after")
    def _warn_without_imitation(self) -> RrhfConfig:
        if self.sft_weight == 0:
            warnings.warn(
                "rrhf with sft_weight 0 has nothing that keeps the text fluent: "
                "policies trained so are known to degenerate",
                stacklevel=2,
            )
        return self


def _select(group: Group) -> list[Group]:
    require_scores(group, "rrhf", at_least=2)
    return [group]


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: RrhfConfig,
) -> LossAndMetrics:
    from tasks.objectives.rrhf import rrhf_terms

    ranking, likelihood = rrhf_terms(
        policy_logps,
        rewards,
        lengths,
        length_normalize=coefficients.length_normalize,
        mask=mask,
    )
    losses = coefficients.ranking_weight * ranking + coefficients.sft_weight * likelihood
    return losses, {"loss/ranking": ranking.detach(), "loss/sft": likelihood.detach()}


RRHF = GroupMethod(name="rrhf", title="RRHF", select=_select, loss=_loss, coefficients=RrhfConfig)
