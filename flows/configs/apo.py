"""Configuration of the flow `apo`: what is trained, on what, for how long, and how it is measured.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from flows.configs.apo_evaluation import ApoEvaluation
from flows.configs.base import FlowConfig
from flows.configs.recurring import ModelSource
from tasks.data.prepare import DataConfig
from tasks.gold.collection import GoldConfig
from tasks.models.base_policy import hub_name
from tasks.models.sample_shards import RolloutConfig
from tasks.models.tokens.encoding import Limits
from tasks.training.config import PolicyConfig, RewardConfig
from tasks.training.methods.coefficients import GroupCoefficients
from tasks.training.methods.method import Method
from tasks.training.methods.registry import get_method, get_training_method
from tasks.training.ppo.config import PpoConfig

Objective = Literal["apo_rm", "wgan", "gail", "ab", "sequential"]


class RewardUpdates(RewardConfig):
    """How reward models are trained: RM_Base and testing RMs once, the adapted RM each epoch."""

    objective: Objective = "apo_rm"
    """What adapts the reward model (arXiv 2311.08045, Table 4): apo_rm (equation 17), wgan, gail,
    ab (no gold against samples) or sequential (apo_rm started from the previous reward model)."""

    base: str | None = None
    """Model folder, GGUF file or hub name (`NAME` or `NAME@REVISION`) whose backbone every reward
    model starts from. Default: the policy after SFT."""

    ablations: tuple[Objective, ...] = ()
    """Further variants trained in epoch 1 for Table 4. They are measured, never used."""

    ablation_games: tuple[Objective, ...] = ()
    """Variants that play a whole game of their own, in every APO epoch: their reward models v1, v2
    … are rows of Table 4, their policies a line of Figure 5 (there: sequential)."""

    def adapted(self, objective: str | None = None) -> RewardConfig:
        """Return the settings of one reward-model update: of a variant, or the configured one."""
        return self._only(objective or self.objective)

    def plain(self) -> RewardConfig:
        """Return the settings of a reward model on human preferences alone (equation 1)."""
        return self._only("bradley_terry")

    def _only(self, objective: str) -> RewardConfig:
        shared = self.model_dump(exclude={"base", "ablations", "ablation_games", "objective"})
        return RewardConfig(**shared, objective=objective)


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
        return get_training_method(name).name

    @model_validator(mode="after")
    def _rates(self) -> PolicyUpdates:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(
                f"learning_rates must be positive, one per APO epoch; got {self.learning_rates}"
            )
        return self


class Game(NamedTuple):
    """One game of a run."""

    objective: str | None
    """What adapts its reward model; None: that stays RM_Base, which is the baseline."""
    is_main: bool = False
    """Whether the run offers its models, and measures how the game stands."""


class ApoConfig(FlowConfig):
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

    sft: PolicyConfig | None = None
    """Supervised fine-tuning of the base policy on `data.demonstrations`. Default: none, the base
    policy is the start."""

    golden_sft: PolicyConfig | None = None
    """Also fine-tune the start on the gold responses, as an opponent (Table 2's Gold. SFT)."""

    reward: RewardUpdates = RewardUpdates()
    """Reward-model updates."""

    policy: PolicyUpdates = PolicyUpdates()
    """Policy updates."""

    evaluation: ApoEvaluation = ApoEvaluation()
    """How policies and reward models are measured."""

    compare_with: dict[str, str] = {}
    """Further models that are only sampled and scored: name → folder, GGUF file or hub name, which
    may have a revision as `NAME@REVISION`."""

    def ppo_at_epoch(self, epoch: int) -> PpoConfig:
        """Return PPO's settings of one APO epoch, counted from 1, with its learning rate."""
        return self.ppo_settings(
            self.policy.coefficients.ppo,
            actor_learning_rate=self.policy.rate_at(epoch),
            template=self.policy.template,
            temperature=self.policy.temperature,
        )

    def games(self) -> tuple[Game, ...]:
        """Return the games of the run in their order; the main one is the last."""
        if not self.adversarial:
            return (Game(None, is_main=True),)
        baseline = [Game(None)] if self.baseline else []
        ablations = (Game(objective) for objective in self.reward.ablation_games)
        return (*baseline, *ablations, Game(self.reward.objective, is_main=True))

    @property
    def sampled_limits(self) -> Limits:
        """Longest prompt and response of the policies that are sampled and measured."""
        return self.policy.limits

    def testers(self) -> tuple[str, ...]:
        """Return the names of the testing reward models, the judges of every policy."""
        return ("RM_Test", "RM_All") if self.data.resolved().extra_preferences else ("RM_Test",)

    def judges(self) -> tuple[str, ...]:
        """Return the testing reward models, and the oracle where the data have one."""
        return (*self.testers(), *(("oracle",) if self.data.playground else ()))

    def own_paths(self) -> tuple[str | None, ...]:
        """Return the files and folders that are named beside the data and can be nothing else."""
        return (self.gold.path, *super().own_paths())

    def named_paths(self) -> tuple[str | None, ...]:
        """Return what the configuration names beside the data; a hub name is no path."""
        return (*super().named_paths(), self.reward.base, *self.compare_with.values())

    def named_models(self) -> Iterator[ModelSource]:
        """Yield the models that a stage will load; a built architecture is none of them."""
        yield from super().named_models()
        if self.reward.base:
            yield _source(self.reward.base, self.reward.template, self.reward.limits)
        for source in self.compare_with.values():
            yield _source(source, self.model.template, self.policy.limits)

    def with_model_names(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with `reward.base` and `compare_with` named anew."""
        base = self.reward.base and change(self.reward.base)
        others = {name: change(source) for name, source in self.compare_with.items()}
        reward = self.reward.model_copy(update={"base": base})
        return self.model_copy(update={"reward": reward, "compare_with": others})

    def test_rollout(self, *, for_kl: bool = False) -> RolloutConfig:
        """Return how test queries are answered; a KL needs the untruncated distribution."""
        evaluation = self.evaluation
        has_own_draws = for_kl and not evaluation.is_untruncated
        most = evaluation.kl_queries if has_own_draws else evaluation.max_queries
        return self.rollout(evaluation.draws(for_kl=for_kl), most)

    def policy_limits(self) -> tuple[Limits, ...]:
        """Return every pair of lengths that the base policy, or a model made of it, is fed."""
        updates = (self.sft, self.golden_sft, self.policy)
        found = [update.limits for update in updates if update]
        return (*found, self.reward.limits) if self.reward.base is None else tuple(found)

    @model_validator(mode="after")
    def _consistent(self) -> ApoConfig:
        reward = self.reward
        if not self.adversarial and (reward.ablations or reward.ablation_games):
            raise ValueError("reward.ablations need adversarial: true: no samples without it")
        if reward.objective in reward.ablation_games:
            raise ValueError(f"reward.ablation_games has {reward.objective}, the main game's own")
        readers = {"policy.limits": self.policy.limits}
        if self.reward.base is None:  # else the reward model counts tokens of another kind
            readers["reward.limits"] = self.reward.limits
        draws = {"sampling": self.sampling, "evaluation.sampling": self.evaluation.sampling}
        self.check_samples_fit(draws, readers)
        if self.gold.provider == "chosen" and self.data.rm_queries:
            raise ValueError(
                "gold.provider is 'chosen', and the pairs do not answer data.rm_queries: leave "
                "these out, or name a file in gold.path"
            )
        self.check_context()
        self.check_gate()
        return self


def _source(name: str, template: str | None, limits: Limits) -> ModelSource:
    hub, revision = hub_name(name)
    return ModelSource(hub or name, template, (limits,), revision)
