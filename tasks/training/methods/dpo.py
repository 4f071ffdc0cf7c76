"""Direct preference optimisation: on pairs, and on the rewards of K responses (forward KL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.settings.base import FrozenConfig
from tasks.training.methods.groupwise import (
    GROUPWISE_OPTIMUM,
    GROUPWISE_SWEEP,
    GroupwiseConfig,
    choice_loss,
)
from tasks.training.methods.method import GroupMethod, Sweepable
from tasks.training.methods.pairwise import pair_loss
from tasks.training.methods.selection import all_if_scores_differ, best_against_worst

if TYPE_CHECKING:
    from torch import Tensor


class DpoConfig(FrozenConfig):
    """Coefficients of DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How sharply log-ratios are read as a choice. Default 0.1: arXiv 2305.18290."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Chance that a preference was given the wrong way round (conservative DPO)."""


def _dpo(policy_logps: Tensor, reference_logps: Tensor, coefficients: DpoConfig) -> Tensor:
    from tasks.objectives.dpo import dpo

    smoothing = coefficients.label_smoothing
    return dpo(policy_logps, reference_logps, beta=coefficients.beta, label_smoothing=smoothing)


def _dpo_rw(*values: Tensor, **options: Any) -> Tensor:
    from tasks.objectives.dpo import dpo_rw

    return dpo_rw(*values, **options)


DPO = GroupMethod(
    name="dpo",
    title="DPO-pref",
    aliases=("sigmoid",),
    learns_from="preferences",
    select=best_against_worst,
    loss=pair_loss(_dpo, beta="beta"),
    needs_reference=True,
    coefficients=DpoConfig,
    sweepable=(Sweepable("beta_pi", "β", 0.5, field="beta"),),
    optimum=("beta_pi",),
    colour="#CC79A7",
    marker="D",
)
DPO_RW = GroupMethod(
    name="dpo_rw",
    title="DPO-rw",
    aliases=("dpo-rw",),
    select=all_if_scores_differ,
    loss=choice_loss(_dpo_rw),
    needs_reference=True,
    coefficients=GroupwiseConfig,
    sweepable=GROUPWISE_SWEEP,
    optimum=GROUPWISE_OPTIMUM,
    colour="#D55E00",
    marker="s",
)
