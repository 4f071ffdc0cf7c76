"""The settings of the flow `exo`: what is learnt from what, and who knows the reward.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field

from flows.configs.base import FlowConfig
from flows.configs.branches.exo_sweep import Methods, SweepConfig
from flows.configs.exo_evaluation import ORACLE, RM, ExoEvaluation, ExoGateConfig, PpoSearch
from flows.configs.reward_start import RewardModels
from tasks.data.config import DataConfig
from tasks.data.text_config import TextsConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.scoring.labelling import LabelConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.text_prompts import BeginningsConfig
from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import Seed
from tasks.training.ava_config import AvaWeights
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.methods.reward_objectives import BRADLEY_TERRY
from tasks.training.ppo.config import PpoConfig
from tasks.training.updates.classifier_config import ClassifierConfig


class ExoSettings(FlowConfig):
    """The fields of a run of `exo`, and what follows from them about its data and judges."""

    gate: ExoGateConfig = ExoGateConfig()
    """What a candidate must show to become the champion; its `tester` is RM or oracle."""

    seed: Seed = 0
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

    reward: RewardModels = RewardModels(objective=BRADLEY_TERRY)
    """The update of the reward model, RM: by bradley_terry, or a TQR by ava_p."""

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

    tqr: TqrConfig = TqrConfig()
    """The model of the branches ava_p and ava_d. Its `alpha` is 1/τ of the branch: what is trained,
    sampled and measured is one policy. That of the reward model is `reward.tqr`."""

    ava: AvaWeights = AvaWeights()
    """The weights of these branches' losses."""

    ppo: PpoConfig = PpoConfig()
    """PPO's settings; template, limits, temperature, scoring and snapshots are the run's."""

    ppo_search: PpoSearch | None = None
    """Tune PPO on dev prompts first (the paper: 15 trials on IMDB, 10 elsewhere)."""

    evaluation: ExoEvaluation = ExoEvaluation()
    """How every checkpoint is measured."""

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
