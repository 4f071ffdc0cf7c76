"""How the flow `apo` updates its reward models and its policy. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from flows.configs.reward_start import RewardModels
from tasks.training.config import PolicyConfig
from tasks.training.methods.coefficients import GroupCoefficients
from tasks.training.methods.method import Method, TqrMethod
from tasks.training.methods.registry import get_method, get_training_method
from tasks.training.methods.reward_objectives import (
    AVA_P,
    BRADLEY_TERRY,
    get_reward_objective,
)
from tasks.training.ppo.config import PpoConfig

Objective = Literal["apo_rm", "wgan", "gail", "ab", "sequential", "ava_p"]


class RewardUpdates(RewardModels):
    """How reward models are trained: RM_Base and testing RMs once, the adapted RM each epoch.

    The testing RMs are of Bradley–Terry whatever adapts the reward model, so that no judge shares
    the mistakes of what it judges.
    """

    objective: Objective = "apo_rm"
    """What adapts the reward model (arXiv 2311.08045, Table 4): apo_rm (equation 17), wgan, gail,
    ab (no gold against samples) or sequential (apo_rm started from the previous reward model); or
    ava_p, a TQR by AVA-p's loss in the place of equation 17's L_rank. RM_Base is then trained by
    ava_p too, on human preferences alone: game and baseline differ in the adaptation only."""

    ablations: tuple[Objective, ...] = ()
    """Further variants trained in epoch 1 for Table 4. They are measured, never used."""

    ablation_games: tuple[Objective, ...] = ()
    """Variants that play a whole game of their own, in every APO epoch: their reward models v1, v2
    … are rows of Table 4, their policies a line of Figure 5 (there: sequential)."""

    @property
    def unadapted(self) -> str:
        """What trains RM_Base: of ava_p itself, else Bradley–Terry (equation 1)."""
        return AVA_P if self.objective == AVA_P else BRADLEY_TERRY

    def objectives(self) -> tuple[str, ...]:
        """Return every objective that a reward model of the run is trained by, but for judges."""
        adapting = (self.objective, *self.ablations, *self.ablation_games)
        return tuple(dict.fromkeys((self.unadapted, *adapting)))

    @model_validator(mode="after")
    def _one_kind_of_model(self) -> RewardUpdates:
        goes_on = [name for name in self.objectives() if get_reward_objective(name).continues]
        if self.objective == AVA_P and goes_on:
            raise ValueError(
                f"{goes_on[0]} goes on from RM_Base, and with the objective {AVA_P} that is a TQR, "
                f"which has no scalar head: leave {goes_on[0]} out of ablations and ablation_games"
            )
        return self


class PolicyCoefficientsByMethod(GroupCoefficients):
    """Coefficients under the name of their method, ppo's settings too; those in use count."""

    ppo: PpoConfig = PpoConfig()
    """PPO's settings. Its learning rate, template and temperature are those of `policy`, its draws
    those of `sampling`."""


class PolicyUpdates(PolicyConfig):
    """How the policy is updated each APO epoch, by a method of `PolicyConfig` or by ppo."""

    coefficients: PolicyCoefficientsByMethod = Field(
        default=PolicyCoefficientsByMethod(), validate_default=True
    )
    """Each method's own coefficients under its name, for example {dpo: {beta: 0.1}}; only those of
    `method` are used. Default: those of its paper."""

    learning_rates: tuple[float, ...] = (5e-6, 2e-6, 9e-7)
    """Learning rate of each APO epoch; the last one holds for further epochs. Default: the paper's
    (section 4.1)."""

    max_queries: int | None = Field(default=None, ge=1)
    """Only so many policy queries, a sample of them, are answered each epoch; default all."""

    reference: Literal["start", "previous"] = "previous"
    """π_ref of DPO: the SFT start, or the policy of the epoch before."""

    @property
    def traits(self) -> Method:
        """What the method is."""
        return get_method(self.method)

    def at_epoch(self, epoch: int) -> PolicyConfig:
        """Return the settings of one APO epoch, counted from 1."""
        training = self.training.model_copy(update={"learning_rate": self.rate_at(epoch)})
        own = {"learning_rates", "max_queries", "reference", "training"}
        shared = self.in_key().model_dump(exclude=own)
        return PolicyConfig(**shared, training=training)

    def rate_at(self, epoch: int) -> float:
        """Return the learning rate of one APO epoch, counted from 1."""
        return self.learning_rates[min(epoch, len(self.learning_rates)) - 1]

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        method = get_training_method(name)
        if isinstance(method, TqrMethod):
            raise ValueError(
                f"{method.name} trains a policy in the flows exo (`branches`) and ava (`arms`), on "
                "pairs that are given; in apo it is for reward models: reward.objective"
            )
        return method.name

    @model_validator(mode="after")
    def _rates(self) -> PolicyUpdates:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(
                f"learning_rates must be positive, one per APO epoch; got {self.learning_rates}"
            )
        return self
