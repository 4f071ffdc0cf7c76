"""The weights of AVA's losses, and what its ablations make of them. Imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.settings.base import FrozenConfig


class AvaWeights(FrozenConfig):
    """Weights of AVA's losses (arXiv 2411.09341); what concerns pairs is not read by AVA-d.

    The weight of the likelihood, β, belongs to the model: `tqr.beta`.
    """

    gamma: float = Field(default=0.99, ge=0, le=1)
    """Discount of the next Q in a temporal-difference error. The paper does not give it; at 1 the
    errors of a response add up to its first and last Q, whatever happens between them."""

    lam: float = Field(default=0.5, ge=0)
    """λ, weight of the density of temporal-difference errors under the rewards. The paper does not
    give it; AVRIL's 1 is the most that `c_kl` 1 holds."""

    c_kl: float = Field(default=1.0, ge=0)
    """Weight of the rewards' divergence from the standard Gaussian. Default 1: Eq. 13."""

    allow_unbounded: bool = False
    """Whether `lam` may be above `c_kl`, where the loss has no minimum: only the model's clamp of
    standard deviations then holds it."""

    b_neg: float = Field(default=1.0, ge=0)
    """Weight of the rejected responses' likelihood, which AVA-p lowers. Default 1: Eq. 17."""

    irl_on: Literal["both", "chosen"] = "both"
    """Which responses of a pair have the KL and temporal-difference terms."""

    neg_guard: Literal["floor", "none", "unlikelihood"] = "floor"
    """What keeps the rejected likelihood from falling for ever: floor stops at a token drawn at
    random, unlikelihood is -log(1 - p) of each token, none is as printed."""

    c_cer: float = Field(default=1.0, ge=0)
    """Weight of the contrast between the scores of a pair. Default 1: Algorithm 1."""

    cer_link: Literal["sigmoid", "log"] = "sigmoid"
    """The contrast: sigmoid of the gap, as printed, or its logarithm, which is Bradley–Terry."""

    reduction: Literal["mean", "sum"] = "mean"
    """mean: every term is the mean over all positions of its side, so that long responses have no
    more weight than short ones; sum: it is added up over a response, as printed, and the mean is
    over groups."""

    strict_sum: bool = False
    """Whether the likelihood leaves out a response's last action, as the sums are printed. The end
    of a response is then not learnt."""

    kl_range: Literal["irl", "actions"] = "irl"
    """Which rewards the prior pulls on: `irl`, those with a temporal-difference error, as printed;
    `actions`, that of a response's last action too, which is the score. Without an error there,
    AVA-d pulls it to 0."""

    terminal_td: bool = False
    """Whether a response's last action has a temporal-difference error too: its next Q is 0, as
    nothing follows. The paper's sums end before it. Wants `kl_range: actions`."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.lam > self.c_kl and not self.allow_unbounded:
            raise ValueError(
                f"lam is {self.lam:g} and c_kl {self.c_kl:g}: above c_kl the loss is unbounded "
                "below, as standard deviations go to 0 around the temporal-difference errors; "
                "lower lam, or set allow_unbounded: true"
            )
        if self.terminal_td and self.kl_range == "irl":
            raise ValueError(
                "terminal_td has an error where the prior does not pull, and there the standard "
                "deviation would go to 0: set kl_range: actions"
            )
        return self

    def without(self, part: str) -> AvaWeights:
        """Return these weights without one part of the loss: `neg`, `irl` or `cer`.

        `neg` leaves of the rejected responses the contrast alone, `irl` the likelihoods and the
        contrast.
        """
        dropped: dict[str, dict[str, object]] = {
            "neg": {"b_neg": 0.0, "irl_on": "chosen"},
            "irl": {"lam": 0.0, "c_kl": 0.0},
            "cer": {"c_cer": 0.0},
        }
        return self.model_copy(update=dropped[part])
