"""Efficient exact optimisation: on pairs, and on the rewards of K responses (reverse KL)."""

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


class ExoPrefConfig(FrozenConfig):
    """Coefficients of EXO-pref."""

    beta_pi: float = Field(default=0.5, gt=0)
    """How sharply log-ratios are read as a choice. Default 0.5: arXiv 2402.00856 on all its data
    but IMDB (0.1)."""

    epsilon: float = Field(default=1e-3, gt=0, lt=0.5)
    """Chance that a preference was given the wrong way round; keeps the divergence finite.
    Default 1e-3: arXiv 2402.00856."""


def _exo_pref(policy_logps: Tensor, reference_logps: Tensor, coefficients: ExoPrefConfig) -> Tensor:
    from tasks.objectives.exo import exo_pref

    beta_pi, epsilon = coefficients.beta_pi, coefficients.epsilon
    return exo_pref(policy_logps, reference_logps, beta_pi=beta_pi, epsilon=epsilon)


def _exo_rw(*values: Tensor, **options: Any) -> Tensor:
    from tasks.objectives.exo import exo_rw

    return exo_rw(*values, **options)


EXO_PREF = GroupMethod(
    name="exo_pref",
    title="EXO-pref",
    aliases=("exo_pair", "exo-pref"),
    learns_from="preferences",
    select=best_against_worst,
    loss=pair_loss(_exo_pref, beta="beta_pi"),
    needs_reference=True,
    coefficients=ExoPrefConfig,
    sweepable=(
        Sweepable("beta_pi", "β_π", 0.5),
        Sweepable("epsilon", "ε", 1e-3),
    ),
    optimum=("beta_pi",),
    rivals=("dpo",),
    colour="#009E73",
    marker="^",
)
EXO_RW = GroupMethod(
    name="exo_rw",
    title="EXO-rw",
    aliases=("exo-rw",),
    select=all_if_scores_differ,
    loss=choice_loss(_exo_rw),
    needs_reference=True,
    coefficients=GroupwiseConfig,
    sweepable=GROUPWISE_SWEEP,
    optimum=GROUPWISE_OPTIMUM,
    rivals=("dpo_rw",),
    colour="#0072B2",
    marker="o",
)
