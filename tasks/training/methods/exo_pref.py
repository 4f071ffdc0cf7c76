"""EXO on preferences: the policy's choice between two responses meets a smoothed annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import Method
from tasks.training.methods.pairwise import pair_metrics
from tasks.training.methods.selection import best_against_worst

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


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: ExoPrefConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    from tasks.objectives.exo import exo_pref

    assert reference_logps is not None, (
        "the caller computes the reference of a method that needs it"
    )
    losses = exo_pref(
        policy_logps,
        reference_logps,
        beta_pi=coefficients.beta_pi,
        epsilon=coefficients.epsilon,
    )
    return losses, pair_metrics(policy_logps, reference_logps, coefficients.beta_pi)


EXO_PREF = Method(
    name="exo_pref",
    select=best_against_worst,
    loss=_loss,
    aliases=("exo_pair", "exo-pref"),
    needs_reference=True,
    min_responses=2,
    coefficients=ExoPrefConfig,
)
