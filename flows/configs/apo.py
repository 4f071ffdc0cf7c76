"""Configuration of the flow `apo`: what is trained, on what, for how long, and how it is measured.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from flows.configs.placement import Placement
from flows.configs.recurring import ModelSource, RecurringConfig
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.prepare import DataConfig
from tasks.evaluation.config import EvaluationConfig
from tasks.gold.collection import GoldConfig
from tasks.models.base_policy import PolicyModelConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.generation import SamplingConfig
from tasks.models.scoring.score_shards import ScoringConfig
from tasks.models.tokens.encoding import Limits
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import did_you_mean
from tasks.training.config import PolicyConfig, RewardConfig, coefficients_of_method
from tasks.training.methods.registry import get_method
from tasks.training.ppo.config import PpoConfig

Objective = Literal["apo_rm", "wgan", "gail", "ab", "sequential"]
PPO = "ppo"


class RewardUpdates(RewardConfig):
    """How reward models are trained: RM_Base and testing RMs once, the adapted RM each epoch."""

    objective: Objective = "apo_rm"
    """What adapts the reward model (arXiv 2311.08045, Table 4): apo_rm (equation 17), wgan, gail,
    ab (no gold against samples) or sequential (apo_rm started from the previous reward model)."""

    base: str | None = None
    """Model folder or hub name whose backbone every reward model starts from. Default: the policy
    after SFT."""

    ablations: tuple[Objective, ...] = ()
    """Further variants trained in epoch 1 for Table 4. They are measured, never used."""

    def adapted(self, objective: str | None = None) -> RewardConfig:
        """Return the settings of one reward-model update.

        Args:
            objective: A variant; the configured one by default.
        """
        return self._only(objective or self.objective)

    def plain(self) -> RewardConfig:
        """Return the settings of a reward model on human preferences alone (equation 1)."""
        return self._only("bradley_terry")

    def _only(self, objective: str) -> RewardConfig:
        shared = self.model_dump(exclude={"base", "ablations", "objective"})
        return RewardConfig(**shared, objective=objective)


class PolicyUpdates(PolicyConfig):
    """How the policy is updated each APO epoch.

    By a method of `PolicyConfig`, or by ppo, whose
    coefficients are PPO's settings.
    """

    learning_rates: tuple[float, ...] = (5e-6, 2e-6, 9e-7)
    """Learning rate of each APO epoch; the last one holds for further epochs. Default: the paper's
    (section 4.1)."""

    max_queries: int | None = Field(default=None, ge=1)
    """Only the first so many policy queries are sampled each epoch; default all."""

    reference: Literal["start", "previous"] = "previous"
    """π_ref of DPO: the SFT start, or the policy of the epoch before."""

    @property
    def needs_reference(self) -> bool:
        """Whether the method compares the policy with a reference on given responses."""
        return self.method != PPO and get_method(self.method).needs_reference

    def at_epoch(self, epoch: int) -> PolicyConfig:
        """Return the settings of one APO epoch.

        Args:
            epoch: From 1.
        """
        training = self.training.model_copy(update={"learning_rate": self._rate(epoch)})
        shared = self.model_dump(exclude={"learning_rates", "max_queries", "reference", "training"})
        return PolicyConfig(**shared, training=training)

    def ppo_at_epoch(self, epoch: int, draws: SamplingConfig, scoring: ScoringConfig) -> PpoConfig:
        """Return PPO's settings of one APO epoch; the actor's learning rate is the epoch's.

        Args:
            epoch: From 1.
            draws: How long responses are, and what stops them.
            scoring: How the reward model reads them.
        """
        assert isinstance(self.coefficients, PpoConfig), "those of the method ppo"
        limits = self.limits.model_copy(update={"max_response_tokens": draws.max_new_tokens})
        return self.coefficients.model_copy(
            update={
                "actor_learning_rate": self._rate(epoch),
                "template": self.template,
                "limits": limits,
                "temperature": self.temperature,
                "stop": draws.stop,
                "scoring": scoring,
            }
        )

    def _rate(self, epoch: int) -> float:
        return self.learning_rates[min(epoch, len(self.learning_rates)) - 1]

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return PPO if name == PPO else get_method(name).name

    @field_validator("coefficients", mode="before")
    @classmethod
    def _coefficients_of_method(cls, given: Any, info: ValidationInfo) -> Any:
        if info.data.get("method") == PPO and not isinstance(given, FrozenConfig):
            return PpoConfig(**(given or {}))
        return coefficients_of_method(given, info)

    @model_validator(mode="after")
    def _rates(self) -> PolicyUpdates:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(
                f"learning_rates must be positive, one per APO epoch; got {self.learning_rates}"
            )
        return self


class ApoConfig(RecurringConfig):
    """One run of Adversarial Preference Optimization (arXiv 2311.08045)."""

    seed: int = Field(default=0, ge=0)
    """Of weights, data order and sampling. The split has its own seed."""

    apo_epochs: int = Field(default=3, ge=1)
    """Outer rounds of the game: update the reward model, then the policy. Default 3: Figure 5."""

    adversarial: bool = True
    """False: the paper's baseline – the same loop with the reward model fixed at RM_Base."""

    baseline: bool = True
    """Also run the baseline, which the game is measured against; it shares all stages before it."""

    data: DataConfig
    """Sources, split and cleaning."""

    gold: GoldConfig
    """Where gold responses come from."""

    model: PolicyModelConfig
    """The base policy: a folder, a hub name, or a small architecture with its own tokenizer."""

    sft: PolicyConfig | None = None
    """Supervised fine-tuning of the base policy on `data.demonstrations`. Default: none, the base
    policy is the start."""

    golden_sft: PolicyConfig | None = None
    """Also fine-tune the start on the gold responses, as an opponent (Table 2's Gold. SFT)."""

    reward: RewardUpdates = RewardUpdates()
    """Reward-model updates."""

    policy: PolicyUpdates = PolicyUpdates()
    """Policy updates."""

    sampling: SamplingConfig = SamplingConfig()
    """How the policy is sampled for training, on reward-model and on policy queries."""

    evaluation: EvaluationConfig = EvaluationConfig()
    """How policies and reward models are measured."""

    compare_with: dict[str, str] = {}
    """Further models that are only sampled and scored: name → folder or hub name."""

    placement: Placement = Placement()
    """Which stages run on which worker pool of Prefect; none, by default: all run here."""

    def rollout(
        self, sampling: SamplingConfig | None = None, max_queries: int | None = None
    ) -> RolloutConfig:
        """Return how queries are sampled.

        Args:
            sampling: Other draws than those for training.
            max_queries: Only the first so many queries; None for all.
        """
        return RolloutConfig(
            sampling=sampling or self.sampling,
            limits=self.policy.limits,
            template=self.model.template,
            max_queries=max_queries,
        )

    def scoring(self) -> ScoringConfig:
        """Return how reward models score: in the arithmetic they were trained in."""
        return ScoringConfig(
            limits=self.reward.limits,
            template=self.reward.template,
            precision=self.reward.training.precision,
        )

    def testers(self) -> tuple[str, ...]:
        """Return the names of the testing reward models, the judges of every policy."""
        return ("RM_Test", "RM_All") if self.data.resolved().extra_preferences else ("RM_Test",)

    def files(self) -> list[str]:
        """Return every file and folder of the user's that a run reads, as written here.

        A playground must have been generated before.
        """
        named = (self.gold.path, self.model.path, self.reward.base, *self.compare_with.values())
        models = [name for name in named if name and Path(name).exists()]
        return [*(str(path) for path in self.data.local_files()), *models]

    def playground(self) -> PlaygroundConfig | None:
        """Return the generated world that the data come from, if they do."""
        return self.data.playground

    def named_models(self) -> Iterator[ModelSource]:
        """Yield the models that a stage will load; a built architecture is none of them."""
        template, limits = self.model.template, self.policy_limits()
        if source := self.model.path or self.model.hub:
            yield ModelSource(source, template, limits, self.model.revision)
        if self.reward.base:
            yield ModelSource(self.reward.base, self.reward.template, (self.reward.limits,))
        for source in self.compare_with.values():
            yield ModelSource(source, template, (self.policy.limits,))

    def policy_limits(self) -> tuple[Limits, ...]:
        """Return every pair of lengths that the base policy, or a model made of it, is fed."""
        updates = (self.sft, self.golden_sft, self.policy)
        found = [update.limits for update in updates if update]
        return (*found, self.reward.limits) if self.reward.base is None else tuple(found)

    @model_validator(mode="after")
    def _consistent(self) -> ApoConfig:
        if not self.adversarial and self.reward.ablations:
            raise ValueError("reward.ablations need adversarial: true: no samples without it")
        self._check_samples_fit()
        self._check_context()
        self._check_gate()
        return self

    def _check_gate(self) -> None:
        """Refuse a gate that asks somebody who does not judge in this run."""
        judges = (*self.testers(), *(("oracle",) if self.data.playground else ()))
        if self.gate.tester not in judges:
            known = did_you_mean(self.gate.tester, judges)
            raise ValueError(f"gate.tester is {self.gate.tester!r}, no judge of this run{known}")

    def _check_samples_fit(self) -> None:
        """Refuse samples that the limits of those who read them would refuse much later."""
        readers = {"policy": self.policy.limits}
        if self.reward.base is None:  # else the reward model counts tokens of another kind
            readers["reward"] = self.reward.limits
        draws = {"sampling": self.sampling, "evaluation.sampling": self.evaluation.sampling}
        for name, sampling in draws.items():
            for reader, limits in readers.items():
                if sampling.max_new_tokens > limits.max_response_tokens:
                    raise ValueError(
                        f"{name}.max_new_tokens is {sampling.max_new_tokens}, but "
                        f"{reader}.limits.max_response_tokens is {limits.max_response_tokens}: "
                        "raise the latter or sample shorter"
                    )

    def _check_context(self) -> None:
        """Refuse a built architecture that is too short for what it will be fed."""
        if self.model.architecture is None:
            return
        context = self.model.architecture.context
        for limits in self.policy_limits():
            needed = limits.max_prompt_tokens + limits.max_response_tokens
            if needed > context:
                raise ValueError(
                    f"model.architecture.context is {context} tokens, but max_prompt_tokens "
                    f"{limits.max_prompt_tokens} + max_response_tokens "
                    f"{limits.max_response_tokens} = {needed}: lower them or raise the context"
                )
