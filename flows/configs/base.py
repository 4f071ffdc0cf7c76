"""What flows that train have in common: models, rewards, samples, evaluation, placement.

A flow adds its own fields and says what it reads, which lengths it feeds and who judges. Imports no
torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from flows.configs.placement import Placement
from flows.configs.recurring import ModelSource, RecurringConfig
from flows.configs.reward_start import RewardStart
from tasks.data.config import DataConfig
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.text_config import TextsConfig
from tasks.evaluation.config import EvaluationConfig
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.models.architecture import NO_ENCODER, WITH_ENCODER
from tasks.models.base_policy import PolicyModelConfig, hub_name
from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.templates import TEMPLATES
from tasks.settings.errors import did_you_mean
from tasks.settings.parts import configs_in
from tasks.training.config import PolicyConfig
from tasks.training.ppo.config import PpoConfig


def named_model(name: str, template: str | None, limits: Limits) -> ModelSource:
    """Return a model that is named by one text, a folder or a hub name with its revision."""
    hub, revision = hub_name(name)
    return ModelSource(hub or name, template, (limits,), revision)


class FlowConfig(RecurringConfig):
    """One run of a flow that trains; the fields and questions that each of them has."""

    data: DataConfig | None = None
    """Sources, split and cleaning."""

    model: PolicyModelConfig
    """The base policy: a folder, a GGUF file, a hub name, or a small architecture with its own
    tokenizer."""

    sft: PolicyConfig | None = None
    """Supervised fine-tuning of the base policy; the result is the start. Default: none."""

    reward: RewardStart = RewardStart(objective="bradley_terry")
    """Updates of the reward model."""

    sampling: SamplingConfig = SamplingConfig()
    """How the policy is sampled for training."""

    evaluation: EvaluationConfig = EvaluationConfig()
    """How policies and reward models are measured."""

    judge: JudgeConfig | None = None
    """A language model that compares the policies' answers pair by pair, by a server with OpenAI's
    interface; its win rates are a table of the report. Default: none."""

    human_evaluation: HumanEvaluationConfig | None = None
    """People who compare them pair by pair; the report waits for them, and has their win rates and
    their agreement beside the judge's. Default: none."""

    placement: Placement = Placement()
    """Which stages run on which worker pool of Prefect; none, by default: all run here."""

    @property
    @abstractmethod
    def sampled_limits(self) -> Limits:
        """Longest prompt and response of the policies that are sampled and measured."""

    def policy_limits(self) -> tuple[Limits, ...]:
        """Return every pair of lengths that the base policy, or a model made of it, is fed."""
        policy = (self.sampled_limits,)
        return policy if self.reward.base else (*policy, self.reward.limits)

    @property
    def policy_temperature(self) -> float:
        """At which policies are trained and their KL is measured."""
        return 1.0

    @property
    def uses_ppo(self) -> bool:
        """Whether a policy is trained by PPO."""
        return False

    @property
    def rewards_are_decoders(self) -> bool:
        """Whether reward models read the last token of a decoder."""
        return True

    @property
    def policy_is_decoder(self) -> bool:
        """Whether the policy may have no encoder."""
        return self.uses_ppo or (self.rewards_are_decoders and not self.reward.base)

    @abstractmethod
    def judges(self) -> tuple[str, ...]:
        """Return the names of those who score every policy."""

    def sources(self) -> DataConfig | TextsConfig:
        """Return where the data come from."""
        assert self.data is not None, "checked with the configuration"
        return self.data

    def divided_data(self) -> DataConfig:
        """Return the data of dialogues, with the division that the flow usually makes of them."""
        assert self.data is not None, "asked where there are dialogues"
        return self.data

    def own_paths(self) -> tuple[str | None, ...]:
        """Return the files and folders that are named beside the data and can be nothing else."""
        return (self.model.path,)

    def named_paths(self) -> tuple[str | None, ...]:
        """Return what the configuration names beside the data; a hub name is no path."""
        return (*self.own_paths(), self.reward.base)

    def rollout(
        self, sampling: SamplingConfig | None = None, max_queries: int | None = None
    ) -> RolloutConfig:
        """Return how a policy answers a sample of `max_queries` queries, or all.

        Its draws are those for training unless `sampling` says otherwise.
        """
        return RolloutConfig(
            sampling=sampling or self.sampling,
            limits=self.sampled_limits,
            template=self.model.template,
            max_queries=max_queries,
        )

    def scoring(self) -> ScoringConfig:
        """Return how reward models score: in the arithmetic they were trained in."""
        reward = self.reward
        return ScoringConfig(
            limits=reward.limits, template=reward.template, precision=reward.training.precision
        )

    def ppo_settings(self, settings: PpoConfig, **own: Any) -> PpoConfig:
        """Return settings of PPO that samples and scores as the rest of the run does.

        `settings` is what is configured of PPO alone; `own` are keys of one training, by name.
        """
        longest = {"max_response_tokens": self.sampling.max_new_tokens}
        shared = {
            "template": self.model.template,
            "limits": self.sampled_limits.model_copy(update=longest),
            "stop": self.sampling.stop,
            "scoring": self.scoring(),
        }
        return settings.model_copy(update={**shared, **own})

    def files(self) -> list[str]:
        """Return every file and folder of the user's that a run reads, as written here.

        A playground must have been generated before.
        """
        named = [path for path in self.named_paths() if path and Path(path).exists()]
        return [*(str(path) for path in self.sources().local_files()), *named]

    def playground(self) -> PlaygroundConfig | None:
        """Return the generated world that the data come from, if they do."""
        return self.data.playground if self.data else None

    def named_models(self) -> Iterator[ModelSource]:
        """Yield the models that a stage will load; a built architecture is none of them."""
        if source := self.model.path or self.model.hub:
            limits = self.policy_limits()
            template, revision = self.model.template, self.model.revision
            layers = self._trained_layers(of_base=False)
            yield ModelSource(source, template, limits, revision, self.policy_is_decoder, layers)
        if self.reward.base:
            base = named_model(self.reward.base, self.reward.template, self.reward.limits)
            layers = self._trained_layers(of_base=True)
            yield base._replace(decoder=self.rewards_are_decoders, layers=layers)

    def with_model_names(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with `reward.base` named anew."""
        base = self.reward.base and change(self.reward.base)
        return self.model_copy(update={"reward": self.reward.model_copy(update={"base": base})})

    @model_validator(mode="after")
    def _known_templates_and_layers(self) -> Self:
        """Refuse what the first training that needs it would refuse, hours later."""
        for key, part in configs_in(self):
            template = getattr(part, "template", None)
            if isinstance(template, str) and template not in TEMPLATES:
                known = did_you_mean(template, TEMPLATES)
                raise ValueError(f"{key}.template: unknown chat template {template!r}{known}")
        key, layers = self._trained_layers(of_base=False)
        if (built := self.model.architecture) and layers > built.layers:
            raise ValueError(
                f"{key} is {layers}, and model.architecture.layers {built.layers}: lower it"
            )
        return self

    def _trained_layers(self, *, of_base: bool) -> tuple[str, int]:
        """Return the most `trainable_layers` of the policy, or of `reward.base`, with its key."""
        found = [("", 0)]
        for key, part in configs_in(self):
            is_of_base = bool(self.reward.base) and key.startswith("reward")
            if is_of_base == of_base and not key.startswith("oracle"):
                layers = getattr(part, "trainable_layers", None) or 0
                found.append((f"{key}.trainable_layers", layers))
        return max(found, key=lambda one: one[1])

    def check_gate(self) -> None:
        """Refuse a gate that asks somebody who does not judge in this run."""
        if self.gate.tester not in self.judges():
            known = did_you_mean(self.gate.tester, self.judges())
            raise ValueError(f"gate.tester is {self.gate.tester!r}, no judge of this run{known}")
        if self.judge is None and self.gate.asks_judge:
            raise ValueError(
                "the gate asks for a judge's verdicts, and the run has none: add `judge`"
            )
        check = self.judge and self.judge.cross_check
        if check and check.reward_model and check.reward_model not in self.judges():
            known = did_you_mean(check.reward_model, self.judges())
            raise ValueError(
                f"judge.cross_check.reward_model is {check.reward_model!r}, which scores nothing "
                f"in this run{known}"
            )

    def check_samples_fit(
        self, draws: Mapping[str, SamplingConfig], policy_key: str = "limits"
    ) -> None:
        """Refuse samples that the limits of those who read them would refuse much later.

        `draws` are given by their key of the configuration; `policy_key` is that of the limits of
        policies.
        """
        readers = {policy_key: self.sampled_limits}
        if self.reward.base is None:  # else the reward model counts tokens of another kind
            readers["reward.limits"] = self.reward.limits
        if self.sampled_limits.max_tokens:
            raise ValueError(
                "max_tokens is a limit of models that score (reward.limits): a policy reads the "
                "prompt that it is sampled with whole; use max_prompt_tokens"
            )
        for (name, draw), (reader, limits) in product(draws.items(), readers.items()):
            if draw.max_new_tokens > limits.longest_response:
                raise ValueError(
                    f"{name}.max_new_tokens is {draw.max_new_tokens}, but "
                    f"{reader}.max_response_tokens is {limits.longest_response}: "
                    "raise the latter or sample shorter"
                )

    def check_context(self) -> None:
        """Refuse an architecture too short for what it will be fed, or with an encoder too many."""
        if self.model.architecture is None:
            return
        if self.policy_is_decoder and (kind := self.model.architecture.kind) in WITH_ENCODER:
            raise ValueError(f"model.architecture.kind {kind} {NO_ENCODER}")
        context = self.model.architecture.context
        for limits in self.policy_limits():
            needed = limits.longest
            if needed > context:
                raise ValueError(
                    f"model.architecture.context is {context} tokens, but max_prompt_tokens "
                    f"{limits.max_prompt_tokens} + max_response_tokens "
                    f"{limits.max_response_tokens} = {needed}: lower them or raise the context"
                )
