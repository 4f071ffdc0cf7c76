"""How a TQR is trained: by AVA's losses, or by those of its baselines. Imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tasks.models.tokens.encoding import Limits
from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import FrozenConfig
from tasks.training.ava_config import AvaWeights
from tasks.training.config import TrainingConfig

TqrObjective = Literal["ava_p", "ava_d", "bradley_terry", "preference_transformer"]
"""What can train a TQR."""

_ON_PAIRS = ("b_neg", "irl_on", "neg_guard", "c_cer", "cer_link")


class GoldGames(FrozenConfig):
    """How gold responses against samples are learnt from, beside human preferences."""

    beta_2: float = Field(default=10.0, ge=0)
    """Weight of the human preferences against gold-against-samples."""

    split_samples: bool = False
    """Whether gold against each sample of a query is a group of its own; its tokens then count once
    for each."""


def require_rewards(tqr: TqrConfig, ava: AvaWeights) -> None:
    """Refuse a model that has no reward where a loss asks for one.

    Raises:
        ValueError: The prior pulls on the reward of the last action, and that is behind it.
    """
    if ava.kl_range == "actions" and tqr.reward_shift:
        raise ValueError(
            "ava.kl_range actions wants a reward where a response ends, and with tqr.reward_shift "
            "1 that is after its end, where there is none: leave one of them out"
        )


class TqrUpdateConfig(FrozenConfig):
    """How a TQR is trained, so that AVA and its baselines differ in the objective alone."""

    objective: TqrObjective = "ava_p"
    """ava_p learns policy and rewards from pairs, ava_d from demonstrations or the best response of
    each group (arXiv 2411.09341). The others learn a score from pairs: bradley_terry a linear
    function of the state where the response's end is chosen, preference_transformer the weighted
    mean of one of every position (arXiv 2303.00957)."""

    tqr: TqrConfig = TqrConfig()
    """The model of ava_p and ava_d; of it preference_transformer reads `rwt_width` alone."""

    ava: AvaWeights = AvaWeights()
    """The weights of AVA's losses."""

    gold: GoldGames | None = Field(default=None, exclude_if=lambda given: given is None)
    """How gold against samples is learnt from too, by an objective on pairs: the loss is that of
    gold against samples and `beta_2` times that of the human preferences (arXiv 2311.08045,
    Eq. 17), each set with means of its own. Default: there is none."""

    training: TrainingConfig = TrainingConfig()
    """The optimiser's settings; heads learn at `head_learning_rate`."""

    limits: Limits = Field(default=Limits(), validate_default=True)
    """Longest prompt and response in tokens."""

    template: str | None = None
    """Chat template by name (plain, hh, alpaca, tldr). None: the tokenizer's own."""

    @property
    def model(self) -> TqrConfig:
        """The settings of the TQR that the objective trains."""
        if self.objective == "bradley_terry":
            return TqrConfig(rwt=False)
        if self.objective == "preference_transformer":
            return TqrConfig(rwt_scale="sum1", rwt_width=self.tqr.rwt_width, score="return")
        return self.tqr

    @property
    def is_ava(self) -> bool:
        """Whether the objective is one of AVA's, and reads Q values."""
        return self.objective.startswith("ava")

    def in_key(self) -> Self:
        """Return it with the defaults for what its objective does not read."""
        weights = AvaWeights()
        if self.is_ava:
            usual = {name: getattr(weights, name) for name in _ON_PAIRS}
            weights = self.ava.model_copy(update=usual if self.objective == "ava_d" else {})
        return self.model_copy(update={"tqr": self.model, "ava": weights})

    @model_validator(mode="after")
    def _rewards_where_asked(self) -> Self:
        if self.is_ava:
            require_rewards(self.tqr, self.ava)
        return self

    @field_validator("training")
    @classmethod
    def _without_dropout(cls, training: TrainingConfig) -> TrainingConfig:
        dropout = max(training.dropout, training.lora.dropout if training.lora else 0)
        if dropout > 0:
            raise ValueError(
                f"dropout is {dropout:g}: a TQR compares the Q value of each position with that of "
                "the next, which dropout would take from two networks; set it to 0"
            )
        return training

    @field_validator("gold")
    @classmethod
    def _on_pairs(cls, gold: GoldGames | None, info: ValidationInfo) -> GoldGames | None:
        if gold is not None and info.data.get("objective") == "ava_d":
            raise ValueError("ava_d imitates single responses: gold against samples is for ava_p")
        return gold

    @field_validator("limits")
    @classmethod
    def _two_actions(cls, limits: Limits) -> Limits:
        if limits.longest_response < 2:
            raise ValueError(
                f"a response of at most {limits.longest_response} tokens has no room for a token "
                "and its end: raise max_response_tokens to 2 at least"
            )
        return limits
