"""Configuration of the flow `apo`: what is trained, on what, for how long, and how it is measured.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from flows.configs.apo_evaluation import ApoEvaluation
from flows.configs.apo_updates import PolicyUpdates, RewardUpdates
from flows.configs.base import FlowConfig, named_model
from flows.configs.recurring import ModelSource
from tasks.data.prepare import DataConfig
from tasks.evaluation.judging.config import ChoiceConfig
from tasks.gold.collection import GoldConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.templates import find_template
from tasks.settings.base import Seed
from tasks.settings.errors import did_you_mean
from tasks.training.config import PolicyConfig
from tasks.training.ppo.config import PpoConfig

OWN_TEMPLATE = "own"
"""Stands for the chat template that a tokenizer has."""


class Game(NamedTuple):
    """One game of a run."""

    objective: str | None
    """What adapts its reward model; None: that stays RM_Base, which is the baseline."""
    is_main: bool = False
    """Whether the run offers its models, and measures how the game stands."""


class ApoConfig(FlowConfig):
    """One run of Adversarial Preference Optimization (arXiv 2311.08045)."""

    seed: Seed = 0
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

    compare_templates: dict[str, str] = {}
    """The chat template that a model of `compare_with` is asked in, by its name there; `own` is
    that of its tokenizer, as a chat model wants. Default: `model.template`."""

    def template_of(self, name: str) -> str | None:
        """Return the chat template of a model to compare with; None for its tokenizer's own."""
        template = self.compare_templates.get(name, self.model.template)
        return None if template == OWN_TEMPLATE else template

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
        main = Game(self.reward.objective, is_main=True)
        others = (one for one in self.reward.ablation_games if one != main.objective)
        return (*baseline, *map(Game, others), main)

    @property
    def policy_temperature(self) -> float:
        """At which policies are trained and their KL is measured."""
        return self.policy.temperature

    @property
    def uses_ppo(self) -> bool:
        """Whether the policy's method is PPO."""
        return self.policy.traits.is_online

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
        return (*super().named_paths(), *self.compare_with.values())

    def named_models(self) -> Iterator[ModelSource]:
        """Yield the models that a stage will load; a built architecture is none of them."""
        yield from super().named_models()
        for name, source in self.compare_with.items():
            yield named_model(source, self.template_of(name), self.policy.limits)

    def with_model_names(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with `reward.base` and `compare_with` named anew."""
        others = {name: change(source) for name, source in self.compare_with.items()}
        return super().with_model_names(change).model_copy(update={"compare_with": others})

    def gold_choice(self) -> ChoiceConfig:
        """Return who chooses among candidates for gold, if there are several.

        Raises:
            ValueError: A judge is to choose, and there is none, or it wants golden answers.
        """
        by_judge = self.gold.server is not None and self.gold.server.best_by == "judge"
        if by_judge and self.judge is None:
            raise ValueError("gold.server.best_by is 'judge', and the run has none: add `judge`")
        judge = self.judge if by_judge else None
        return ChoiceConfig(judge=judge, dev_share=self.gold.dev_share)

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

    @field_validator("compare_templates")
    @classmethod
    def _known_templates(cls, given: dict[str, str]) -> dict[str, str]:
        for template in given.values():
            if template != OWN_TEMPLATE:
                find_template(template)
        return given

    @model_validator(mode="after")
    def _consistent(self) -> ApoConfig:
        self.data.require_preferences("apo")
        reward = self.reward
        if not self.adversarial and (reward.ablations or reward.ablation_games):
            raise ValueError("reward.ablations need adversarial: true: no samples without it")
        if strangers := self.compare_templates.keys() - self.compare_with.keys():
            known = did_you_mean(min(strangers), self.compare_with)
            raise ValueError(
                f"compare_templates names {min(strangers)!r}, no model to compare{known}"
            )
        draws = {"sampling": self.sampling, "evaluation.sampling": self.evaluation.sampling}
        self.check_samples_fit(draws, "policy.limits")
        if self.gold.provider == "chosen" and self.data.rm_queries:
            raise ValueError(
                "gold.provider is 'chosen', and the pairs do not answer data.rm_queries: leave "
                "these out, or name a file in gold.path"
            )
        self.gold_choice()
        self.check_context()
        self.check_gate()
        return self
