"""Configuration of the flow `exo`: one start, many ways to align it, one frontier.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError, model_validator

from flows.configs.branches.exo_sweep import Branch, SweepConfig, branches_of
from flows.configs.exo_settings import ExoSettings
from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.tokens.encoding import Limits
from tasks.training.config import PolicyConfig
from tasks.training.methods.method import TqrMethod
from tasks.training.methods.registry import get_method
from tasks.training.methods.reward_objectives import AVA_P, BRADLEY_TERRY
from tasks.training.ppo.config import PpoConfig
from tasks.training.tqr_config import TqrUpdateConfig


class ExoConfig(ExoSettings):
    """One run of Efficient Exact Optimization (arXiv 2402.00856) and its baselines."""

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

    def tqr_update(self, branch: Branch) -> TqrUpdateConfig:
        """Return the settings of the update of a branch that trains a TQR."""
        return branch.tqr_update(self.tqr, self.ava, self.shared_update())

    @property
    def policy_temperature(self) -> float:
        """At which policies are trained and their KL is measured."""
        return self.temperature

    @property
    def uses_ppo(self) -> bool:
        """Whether a branch is PPO."""
        return any(branch.traits.is_online for branch in self.all_branches())

    @property
    def rewards_are_decoders(self) -> bool:
        """Whether a reward model is trained that reads the last token of a decoder."""
        return self.supervision != "oracle" and self.reward.objective != AVA_P

    @property
    def sampled_limits(self) -> Limits:
        """Longest prompt and response of the policies that are sampled and measured."""
        return self.limits

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

    @model_validator(mode="after")
    def _consistent(self) -> ExoConfig:
        if (self.data is None) == (self.texts is None):
            raise ValueError("give either `data` (dialogues with preferences) or `texts`")
        if self.data:
            self.data.require_preferences("exo")
        if self.texts and not self.texts.corpus and self.model.architecture:
            raise ValueError("a built architecture learns its language from texts.corpus: name it")
        self._check_supervision()
        self._check_draws()
        self._check_branches()
        self.check_context()
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
        if self.reward.objective not in (BRADLEY_TERRY, AVA_P):
            raise ValueError(
                f"reward.objective is {self.reward.objective!r}: EXO's reward model learns from "
                f"preferences alone ({BRADLEY_TERRY}, or {AVA_P} for one that is a TQR)"
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
        self.check_samples_fit({"sampling": draws})

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
            if isinstance(branch.traits, TqrMethod):
                self._check_tqr(branch)

    def _check_tqr(self, branch: Branch) -> None:
        """Refuse a TQR whose policy would not be the one that is sampled and measured."""
        if not self.tqr.ptq:
            raise ValueError(
                f"tqr.ptq is false, and {branch.name} trains a policy: without ptq the Q head is "
                "new and no pretrained policy"
            )
        tau = branch.temperature
        if self.tqr.q_map == "logit" and self.tqr.alpha != 1:
            raise ValueError(
                f"tqr.alpha is {self.tqr.alpha:g}: a policy is trained, sampled and measured at "
                f"its branch's τ, {tau:g}, so alpha is {1 / tau:g} there; set temperature alone"
            )
        if self.tqr.q_map == "prob" and tau != 1:
            raise ValueError(
                f"tqr.q_map is prob, whose policy is drawn from at temperature 1, and that of "
                f"{branch.name} is {tau:g}: set it to 1, or q_map to logit"
            )
        try:
            self.tqr_update(branch)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{branch.name} cannot be trained so: {said}") from None
