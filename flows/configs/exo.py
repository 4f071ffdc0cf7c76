"""Configuration of the flow `exo`: one start, many ways to align it, one frontier.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from flows.configs.base import FlowConfig
from flows.configs.exo_evaluation import ORACLE, RM, ExoEvaluation, ExoGateConfig, PpoSearch
from flows.configs.exo_sweep import Branch, Methods, SweepConfig, branches_of
from tasks.data.config import DataConfig
from tasks.data.text_config import TextsConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.scoring.labelling import LabelConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.text_prompts import BeginningsConfig
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.methods.registry import get_method
from tasks.training.ppo.config import PpoConfig
from tasks.training.updates.classifier_config import ClassifierConfig


class ExoConfig(FlowConfig):
    """One run of Efficient Exact Optimization (arXiv 2402.00856) and its baselines."""

    gate: ExoGateConfig = ExoGateConfig()
    """What a candidate must show to become the champion; its `tester` is RM or oracle."""

    seed: int = Field(default=0, ge=0)
    """Of weights, samples and evaluation, and of branches that name none."""

    supervision: Literal["preferences", "reward_model", "oracle"] = "reward_model"
    """What the methods learn from: pairs alone; also a reward model estimated from the pairs, which
    scores samples of the start; or the oracle itself as the reward."""

    data: DataConfig | None = None
    """Dialogues with preferences; or else `texts`."""

    texts: TextsConfig | None = None
    """Plain texts, as in the paper's IMDB task: a prompt is the beginning of a text, the oracle a
    classifier, and D_pref two samples labelled by it."""

    prompts: BeginningsConfig = BeginningsConfig()
    """Which beginnings of `texts` become prompts."""

    preferences: Literal["given", "labelled"] = "given"
    """D_pref: the pairs of `data`, or two samples of the start per prompt, labelled by the oracle
    (always so for `texts`)."""

    labels: LabelConfig = LabelConfig()
    """How the oracle labels."""

    oracle: ClassifierConfig = ClassifierConfig()
    """The classifier trained on `texts.labelled`, or a finished one, for dialogues too. The
    playground's oracle needs no setting."""

    sft: PolicyConfig | None = None
    """Supervised fine-tuning of the base policy on the demonstrations, or on the texts; the result
    is π_sft, the start of every branch. Default: none."""

    temperature: float = Field(default=0.8, gt=0)
    """τ of sampling, training, KL and, where `evaluation` has none, of the answers that are judged.
    Default 0.8: arXiv 2402.00856, section 4."""

    sampling: SamplingConfig = SamplingConfig(samples=4)
    """Samples of the start that become D_rw: K at most, length, precision. Their temperature is
    `temperature`."""

    max_queries: int | None = Field(default=None, ge=1)
    """Only so many training prompts, a sample of them, are answered; default all."""

    limits: Limits = Limits()
    """Longest prompt and response of the policies, tokens."""

    training: TrainingConfig = TrainingConfig()
    """The optimiser of every branch that names none of its own: equal for all methods, as in the
    paper (lr 1e-6, batch 64, one epoch)."""

    branches: list[SweepConfig] = Field(min_length=1)
    """The methods, each with the values it is tried with."""

    methods: Methods = ()
    """Only these methods, by name or alias: their branches, or one with a method's usual values
    where `branches` has none of it. Default: all branches."""

    ppo: PpoConfig = PpoConfig()
    """PPO's settings; template, limits, temperature, scoring and snapshots are the run's."""

    ppo_search: PpoSearch | None = None
    """Tune PPO on dev prompts first (the paper: 15 trials on IMDB, 10 elsewhere)."""

    evaluation: ExoEvaluation = ExoEvaluation()
    """How every checkpoint is measured."""

    def all_branches(self) -> list[Branch]:
        """Return every combination of the sweep, in its order."""
        usual: dict[str, Any] = {
            "temperature": self.temperature,
            "seed": self.seed,
            "training": self.training,
            "samples": self.sampling.samples,
        }
        return [one for sweep in self.sweeps() for one in branches_of(sweep, **usual)]

    def sweeps(self) -> list[SweepConfig]:
        """Return what is tried: `branches`, or what `methods` picks of them."""
        if not self.methods:
            return self.branches
        by_method = {
            name: [one for one in self.branches if one.method == name] for name in self.methods
        }
        return [
            one for name, found in by_method.items() for one in found or [SweepConfig(method=name)]
        ]

    def temperatures(self) -> list[float]:
        """Return every τ of the sweep, the run's own first."""
        given = (branch.temperature for branch in self.all_branches())
        return list(dict.fromkeys([self.temperature, *given]))

    def shared_update(self) -> PolicyConfig:
        """Return the limits and the template of every branch."""
        return PolicyConfig(limits=self.limits, template=self.model.template)

    @property
    def sampled_limits(self) -> Limits:
        """Longest prompt and response of the policies that are sampled and measured."""
        return self.limits

    def policy_limits(self) -> tuple[Limits, ...]:
        """Return every pair of lengths that the base policy, or a model made of it, is fed."""
        return (self.limits,) if self.reward.base else (self.limits, self.reward.limits)

    def draws(self, temperature: float, samples: int) -> SamplingConfig:
        """Return how so many responses per prompt are drawn at τ."""
        return self.sampling.model_copy(update={"temperature": temperature, "samples": samples})

    def test_rollout(
        self, temperature: float, prompts: int | None = None, *, for_kl: bool = False
    ) -> RolloutConfig:
        """Return how a checkpoint of a training at τ answers the prompts that it is measured on.

        Those are a sample of so many, by default `evaluation.prompts`. A KL needs the distribution
        that was trained, whatever the draws that judges read.
        """
        draws = self.draws(temperature, self.evaluation.samples)
        if not for_kl:
            draws = self.evaluation.judged(draws)
        return self.rollout(draws, prompts or self.evaluation.prompts)

    def ppo_of(
        self,
        temperature: float,
        tuned: PpoConfig | None = None,
        coefficients: Mapping[str, float] | None = None,
    ) -> PpoConfig:
        """Return PPO's settings of a training at τ.

        They are those that a search chose, by default those of the configuration, with the
        coefficients that a branch has of its own.
        """
        own = {"temperature": temperature, "snapshots": self.training.snapshots}
        return self.ppo_settings(tuned or self.ppo, **{**own, **(coefficients or {})})

    def named_paths(self) -> tuple[str | None, ...]:
        """Return what the configuration names beside the data; a hub name is no path."""
        return (*super().named_paths(), self.oracle.source)

    def with_model_names(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with `reward.base` and the oracle's model named anew."""
        named = {name: getattr(self.oracle, name) for name in ("base", "model")}
        update = {name: change(source) for name, source in named.items() if source}
        oracle = self.oracle.model_copy(update=update)
        return super().with_model_names(change).model_copy(update={"oracle": oracle})

    def divided_data(self) -> DataConfig:
        """Return the data: one set of pairs for reward model and policies, dev held out of it."""
        usual = {"rm_share": 0.0, "dev_from_policy": "held_out"}
        return super().divided_data().with_usual_split(**usual)

    def pair_parts(self) -> tuple[str, ...]:
        """Return the parts of the data that are D_pref where it is given."""
        has_own = self.divided_data().split.rm_share
        return ("rm_train", "policy_train") if has_own else ("policy_train",)

    @property
    def has_oracle(self) -> bool:
        """Whether somebody knows the true reward."""
        if self.oracle.model:
            return True
        return bool(self.texts.labelled) if self.texts else self.playground() is not None

    @property
    def is_labelled(self) -> bool:
        """Whether the oracle labels D_pref."""
        return self.texts is not None or self.preferences == "labelled"

    def judges(self) -> tuple[str, ...]:
        """Return who scores every checkpoint; the first one draws the frontier."""
        oracle = (ORACLE,) if self.has_oracle else ()
        return oracle if self.supervision == "oracle" else (*oracle, RM)

    def sources(self) -> DataConfig | TextsConfig:
        """Return where the data come from: dialogues or plain texts."""
        return self.texts or super().sources()

    @model_validator(mode="after")
    def _consistent(self) -> ExoConfig:
        if (self.data is None) == (self.texts is None):
            raise ValueError("give either `data` (dialogues with preferences) or `texts`")
        if self.texts and not self.texts.corpus and self.model.architecture:
            raise ValueError("a built architecture learns its language from texts.corpus: name it")
        self._check_supervision()
        self._check_draws()
        self._check_branches()
        # With the oracle as the reward there is no reward model, and nothing is offered.
        if self.supervision != "oracle":
            self.check_gate()
        return self

    def _check_supervision(self) -> None:
        asked = {sweep.method for sweep in self.sweeps()}
        needy = sorted(name for name in asked if get_method(name).learns_from == "rewards")
        if self.supervision == "preferences" and needy:
            raise ValueError(
                f"{needy[0]} needs rewards, and supervision is preferences: choose reward_model or "
                "oracle, or leave the method out"
            )
        if (self.supervision == "oracle" or self.is_labelled) and not self.has_oracle:
            raise ValueError(
                "nobody knows the true reward of this data: supervision oracle and labelled "
                "preferences need the playground, texts.labelled, or a finished oracle.model"
            )
        if self.oracle.base and not (self.texts and self.texts.labelled):
            raise ValueError("oracle.base is fine-tuned on texts.labelled, and there are none")
        if self.oracle.model and self.playground():
            raise ValueError("the playground knows its true reward: leave oracle.model out")
        if self.reward.objective != "bradley_terry":
            raise ValueError(
                f"reward.objective is {self.reward.objective!r}: EXO's reward model learns from "
                "preferences alone (bradley_terry)"
            )

    def _check_draws(self) -> None:
        draws = self.sampling
        if draws.top_k or draws.top_p != 1.0:
            raise ValueError("sampling.top_k and top_p cut the distribution that EXO matches: drop")
        # 1.0 is what a configuration says that was written down by a run.
        if draws.temperature not in (1.0, self.temperature):
            raise ValueError(
                f"sampling.temperature is {draws.temperature} and temperature {self.temperature}: "
                "one τ holds for sampling and training; set `temperature` alone"
            )
        readers = {"limits": self.limits}
        if self.reward.base is None:  # else the reward model counts tokens of another kind
            readers["reward.limits"] = self.reward.limits
        self.check_samples_fit({"sampling": draws}, readers)

    def _check_branches(self) -> None:
        labels = [branch.label(self.temperature) for branch in self.all_branches()]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"the branch {twice[0]!r} is there twice; name each value once")
        for branch in self.all_branches():
            wanted = branch.responses or 0
            if branch.traits.trains and wanted > self.sampling.samples:
                raise ValueError(
                    f"{branch.name} wants K = {wanted} samples per prompt, and sampling.samples is "
                    f"{self.sampling.samples}: raise it, or lower K"
                )
