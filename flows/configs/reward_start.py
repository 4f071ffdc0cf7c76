"""What a flow's reward models start from, and how those that may be TQRs are trained.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from typing import Self

from pydantic import ValidationError, field_validator, model_validator

from tasks.models.tqr.config import TqrConfig
from tasks.training.ava_config import AvaWeights
from tasks.training.config import RewardConfig
from tasks.training.methods.reward_objectives import AVA_P, get_reward_objective
from tasks.training.tqr_config import GoldGames, TqrUpdateConfig


class RewardStart(RewardConfig):
    """How reward models are trained, and the model that they start from."""

    base: str | None = None
    """Model folder, GGUF file or hub name (`NAME` or `NAME@REVISION`) whose backbone every reward
    model starts from, such as the pretrained model in the papers. Default: the policy after SFT."""

    def of_objective(self, objective: str) -> RewardConfig:
        """Return the settings of one update: they do not say where the model comes from."""
        shared = {name: getattr(self, name) for name in RewardConfig.model_fields}
        return RewardConfig(**shared | {"objective": objective})


class RewardModels(RewardStart):
    """How the reward models of a flow are trained, which by ava_p are TQRs."""

    tqr: TqrConfig = TqrConfig()
    """The TQR that ava_p trains; `score` is what it scores by."""

    ava: AvaWeights = AvaWeights()
    """The weights of AVA-p's loss."""

    def objectives(self) -> tuple[str, ...]:
        """Return every objective that a reward model of the run is trained by, but for judges."""
        return (self.objective,)

    def of_ava_p(self, *, plays: bool) -> TqrUpdateConfig:
        """Return the settings of one update by ava_p, with gold against samples where it plays."""
        gold = GoldGames(beta_2=self.beta_2, split_samples=self.split_samples) if plays else None
        return TqrUpdateConfig(
            objective=AVA_P,
            tqr=self.tqr,
            ava=self.ava,
            gold=gold,
            training=self.training,
            limits=self.limits,
            template=self.template,
        )

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, name: str) -> str:
        return get_reward_objective(name).name

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        if AVA_P in self.objectives():
            try:
                self.of_ava_p(plays=False)
            except ValidationError as error:
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"{AVA_P} cannot be trained so: {said}") from None
            return self
        for name in ("tqr", "ava"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is of the objective {AVA_P}, and nothing here is trained by that: "
                    f"leave it out, or set objective to {AVA_P}"
                )
        return self
