"""What a user may set about a training. Imports no torch, so that a plan can read it."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from tasks.models.tokens.encoding import Limits
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.training.methods.coefficients import GroupCoefficients
from tasks.training.methods.registry import get_group_method, selecting_like
from tasks.training.methods.reward_objectives import REWARD_OBJECTIVES, get_reward_objective
from tasks.training.scale import TrainingScale


class TrainingConfig(TrainingScale):
    """One pass of the optimiser over the data of a stage."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Peak learning rate of AdamW. Default 1e-6: the reward models of arXiv 2311.08045 (APO)."""

    head_learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of a reward model's score head or a TQR's heads, which are new while the
    backbone was trained before; warm-up and decay are those of the rest. Default:
    `learning_rate`."""

    batch_size: int = Field(default=64, ge=1)
    """Groups (prompts with their responses) per optimiser step. Default 64: APO's reward models."""

    micro_batch_tokens: int = Field(default=8192, ge=2)
    """Tokens of one forward pass: of every group in it the prompt, once, and all its responses.
    Changes memory and speed, never the result beyond rounding. No group may be larger."""

    num_train_epochs: int = Field(default=1, ge=1)
    """Passes over the data. Default 1: APO and EXO alike."""

    max_steps: int | None = Field(default=None, ge=1)
    """The training ends after so many optimiser steps, and its schedule with it. Default: after the
    last epoch."""

    warmup_steps: int | float = Field(default=0, ge=0)
    """Optimiser steps over which the learning rate climbs linearly to its peak; a number below 1 is
    that share of all steps, rounded up, as in transformers."""

    lr_scheduler: Literal["constant", "linear", "cosine"] = "constant"
    """The learning rate after the warm-up: held, or brought down to 0 at the end of the plan."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW, on matrices only (never on biases and norms)."""

    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients. Default: torch."""

    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients. Default: torch."""

    adam_epsilon: float = Field(default=1e-8, gt=0)
    """Added to AdamW's denominator. Default: torch."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """L2 norm the whole gradient is scaled down to; 0 leaves it as it is."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout while training. Default 0, whatever the model's own config says, because
    log-probabilities under dropout are not comparable with those of the reference."""

    save_every: Annotated[int, NOT_IN_KEY] = Field(default=100, ge=1)
    """Optimiser steps between checkpoints; step 1 is always saved, as a rehearsal."""

    logging_steps: Annotated[int, NOT_IN_KEY] = Field(default=10, ge=1)
    """Optimiser steps whose mean makes one point of the training curves; step 1 is always one."""

    keep_checkpoints: Annotated[int, NOT_IN_KEY] = Field(default=2, ge=1)
    """Newest checkpoints kept while training. They are not part of the artifact."""

    snapshots: int = Field(default=1, ge=1)
    """States of the training, at even distances, that are kept as models of their own, the last one
    included: what reward against step and the frontier are drawn from."""

    compile: bool = False
    """Whether the model goes through torch.compile. Nothing was gained on the CPU measured."""

    def warmup_of(self, total: int) -> int:
        """Return the steps of the warm-up of a training of so many steps."""
        given = self.warmup_steps
        return math.ceil(given * total) if given < 1 else int(given)

    @field_validator("warmup_steps")
    @classmethod
    def _whole_steps(cls, given: int | float) -> int | float:
        if given >= 1 and given != int(given):
            raise ValueError(f"expected whole steps or a share below 1, got {given}")
        return given


class PolicyConfig(FrozenConfig):
    """How a policy is updated from groups of responses."""

    method: str = "rjs"
    """Which objective, by name or alias: one of tasks/training/methods, such as rjs (alias raft),
    dpo (alias sigmoid), exo_pref (alias exo_pair) or exo_rw. A wrong name is told them all."""

    coefficients: GroupCoefficients = Field(default=GroupCoefficients(), validate_default=True)
    """Each method's own coefficients under its name, for example {dpo: {beta: 0.1}}; only those of
    `method` are used. Default: those of its paper."""

    training: TrainingConfig = TrainingConfig()
    """The optimiser's settings."""

    limits: Limits = Limits()
    """Longest prompt and response in tokens."""

    template: str | None = None
    """Chat template by name (plain, hh, alpaca, tldr). None: the tokenizer's own."""

    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it before the softmax, for policy and reference alike. EXO: 0.8."""

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return get_group_method(name).name

    @field_validator("training")
    @classmethod
    def _headless(cls, training: TrainingConfig) -> TrainingConfig:
        if training.head_learning_rate is not None:
            raise ValueError("head_learning_rate is a reward model's: a policy has no score head")
        return training

    @field_validator("coefficients")
    @classmethod
    def _spelt_out(cls, given: GroupCoefficients, info: ValidationInfo) -> GroupCoefficients:
        return given.spelt_out(info.data.get("method", ""))

    def in_key(self) -> Self:
        """Return it without the coefficients of other methods."""
        return self.model_copy(update={"coefficients": self.coefficients.only(self.method)})

    @property
    def own_coefficients(self) -> FrozenConfig:
        """The coefficients of its method."""
        return self.coefficients.of(self.method)

    @property
    def responses(self) -> int | None:
        """How many responses of each prompt are trained on, the first ones; None: all."""
        return getattr(self.own_coefficients, "responses", None)

    def reference_pass(self) -> ReferenceConfig:
        """Return what decides log-probabilities under a reference, and nothing else.

        Two trainings that differ in the rest, in the learning rate say, share one pass.
        """
        return ReferenceConfig(
            method=selecting_like(self.method),
            responses=self.responses,
            limits=self.limits,
            template=self.template,
            temperature=self.temperature,
            precision=self.training.precision,
        )


class ReferenceConfig(FrozenConfig):
    """How log-probabilities under a reference model are computed."""

    method: str
    """A policy method that selects the responses as the one that will read them does."""

    responses: int | None = Field(default=None, ge=2)
    """Only the first so many responses of each prompt, as in the training. None: all."""

    limits: Limits = Limits()
    """Longest prompt and response in tokens, as in the training."""

    template: str | None = None
    """Chat template by name, as in the training. None: the tokenizer's own."""

    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it before the softmax, as in the training."""

    precision: Literal["fp32", "bf16", "auto"] = "auto"
    """As in the training: only equal arithmetic makes log-ratios comparable."""

    batch_tokens: int = Field(default=8192, ge=2)
    """Tokens of a forward pass. A larger group is split, which changes nothing."""

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return get_group_method(name).name


class RewardConfig(FrozenConfig):
    """How a reward model is updated from preferences and from gold against samples."""

    objective: str = "apo_rm"
    """bradley_terry, apo_rm, wgan, gail, ab or sequential (APO's Table 4 for the last four)."""

    beta_2: float = Field(default=10.0, ge=0)
    """Weight of the human preferences against gold-against-samples, where the objective has both.
    Default 10: APO's release gives 0.1 to the latter and 1 to the former."""

    split_samples: bool = False
    """Whether gold against each sample of a query is a group of its own, so that `batch_size`
    counts pairs, as APO's release does; or the query with all its samples is one. The two sets keep
    their weights either way."""

    training: TrainingConfig = TrainingConfig()
    """The optimiser's settings."""

    limits: Limits = Limits()
    """Longest prompt and response in tokens."""

    template: str | None = None
    """Chat template by name (plain, hh, alpaca, tldr). None: the tokenizer's own."""

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, name: str) -> str:
        if get_reward_objective(name).trains_tqr:
            raise ValueError(
                f"{name} trains a TQR, and this reward model has one score: choose one of "
                f"{', '.join(REWARD_OBJECTIVES)}"
            )
        return name

    def in_key(self) -> Self:
        """Return it with the defaults for what its objective does not read."""
        objective, fields = get_reward_objective(self.objective), type(self).model_fields
        read = {"beta_2": objective.is_weighted, "split_samples": objective.game is not None}
        unread = {name: fields[name].default for name, is_read in read.items() if not is_read}
        return self.model_copy(update=unread) if unread else self
