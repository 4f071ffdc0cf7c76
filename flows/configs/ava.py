"""Configuration of the flow `ava`: which arms are trained, on what, and how they are compared.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from flows.configs.base import FlowConfig
from flows.configs.branches.ava_cells import POLICY_ONLY, TQR_OBJECTIVES, ArmConfig, Cell
from tasks.data.config import DataConfig
from tasks.data.demonstration_pairs import AfdPairing
from tasks.evaluation.config import EXACT_MATCH, BestOfN
from tasks.models.scoring.config import ScoringConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import Seed
from tasks.training.ava_config import AvaWeights
from tasks.training.config import TrainingConfig
from tasks.training.methods.dpo import DpoConfig
from tasks.training.ppo.config import PpoConfig
from tasks.training.tqr_config import require_rewards

TESTER, ORACLE = "RM_Test", "oracle"
"""Who decides a win: the oracle of the playground, elsewhere a testing reward model."""


class AvaConfig(FlowConfig):
    """One run of Approximated Variational Alignment (arXiv 2411.09341) and its baselines."""

    seed: Seed = 0
    """Of weights, data order and draws, for arms that name none."""

    data: DataConfig
    """Sources, split and cleaning. Demonstrations are the chosen halves of the pairs unless they
    are named. Where arms learn from demonstrations, pairs may serve the testing reward model alone;
    without any, direct policies are compared by `exact_match`."""

    arms: list[ArmConfig] = Field(min_length=1)
    """What is trained: cells of data, pipeline, objective, ablation and seed."""

    afd_pairing: AfdPairing = "init_sft"
    """Who is rejected and who is chosen in pairs made of demonstrations: init (what every arm
    starts from), sft (that fine-tuned on them) or demo (the demonstrations). Default: as AfD's
    paper recommends (arXiv 2405.15624)."""

    tqr: TqrConfig = TqrConfig()
    """The model of ava_p and ava_d: Q values, rewards and their weights. Its `score` is what
    best-of-N and PPO take; the accuracy of both readings is measured. `rwt_width` is also that of
    preference_transformer."""

    ava: AvaWeights = AvaWeights()
    """The weights of AVA's losses."""

    dpo: DpoConfig = DpoConfig()
    """DPO's coefficients."""

    return_scale: Literal["mean", "sum"] = "mean"
    """Whether a return is the mean of the rewards or, as printed, their sum, which grows with the
    length."""

    limits: Limits = Limits(max_prompt_tokens=256, max_response_tokens=256)
    """Longest prompt and response of policies, tokens; those of reward models are `reward.limits`.
    The paper does not give them; 512 in all is the specification's."""

    training: TrainingConfig = TrainingConfig(
        learning_rate=1e-5,
        head_learning_rate=1e-4,
        batch_size=32,
        warmup_steps=0.03,
        lr_scheduler="cosine",
        weight_decay=0.01,
    )
    """The optimiser of every arm that names none of its own: equal for all objectives. The paper
    does not give it. `head_learning_rate` is for those with new heads, so not for dpo and sft."""

    best_of_n: BestOfN | None = BestOfN(n=16)
    """The best of N samples by each reward model; null leaves it out. The paper does not give N."""

    ppo: PpoConfig | None = PpoConfig()
    """PPO with each reward model (Eq. 19), whose template, limits and scoring are the run's; null
    leaves it out."""

    continue_from: Literal["base", "sft"] = "base"
    """The start: what policies are trained from, best-of-N samples and PPO begins with. The base
    policy (the paper's chat model), or that after `sft`. Reward models begin with it too, unless
    `reward.base` names their own."""

    exact_match: bool = False
    """Whether answers are compared by the number that they come to, as for mathematics: right is
    the one that the test record's own answer has, behind `####` or as its last. It is a column of
    the report, and it decides what wins where nobody else judges."""

    test_prompts: int | None = Field(default=None, ge=1)
    """Test prompts that every policy answers, a sample of so many, with `sampling.samples` answers
    each. Default: all."""

    diagnosis_pairs: int = Field(default=500, ge=1)
    """Test pairs on which the rewards of each AVA model are looked at, drawn at random; every pair
    costs as much as scoring it nine times. Default 500."""

    def divided_data(self) -> DataConfig:
        """Return the data: a half of the pairs for arms that learn from them, the other to judge.

        The prompts of the judge's half are also PPO's.
        """
        learns = any(cell.data == "preferences" for cell in self.cells())
        return super().divided_data().with_usual_split(rm_share=0.5 if learns else 0.0)

    def scoring(self) -> ScoringConfig:
        """Return how reward models score: in the arithmetic they were trained in."""
        return super().scoring().model_copy(update={"return_scale": self.return_scale})

    def cells(self) -> list[Cell]:
        """Return every arm with every seed, in the order in which they are named."""
        return [cell for arm in self.arms for cell in arm.cells(self.seed)]

    def training_of(self, cell: Cell) -> TrainingConfig:
        """Return the optimiser's settings of a cell; those of the run for one that no arm has."""
        arm = next((arm for arm in self.arms if cell in arm.cells(self.seed)), None)
        own = arm.training if arm else None
        if own or cell.objective not in POLICY_ONLY:
            return own or self.training
        return self.training.model_copy(update={"head_learning_rate": None})

    @property
    def uses_ppo(self) -> bool:
        """Whether an arm's reward model goes on to PPO."""
        return self.ppo is not None and any(cell.goes_on for cell in self.cells())

    @property
    def rewards_are_decoders(self) -> bool:
        """Whether reward models read the last token of a decoder: the heads of these need none."""
        return False

    @property
    def sampled_limits(self) -> Limits:
        """Longest prompt and response of the policies that are sampled and measured."""
        return self.limits

    def judges(self) -> tuple[str, ...]:
        """Return who scores every policy; the first one decides what wins."""
        able = {
            ORACLE: self.playground() is not None,
            TESTER: self.data.has_preferences,
            EXACT_MATCH: self.exact_match,
        }
        return tuple(judge for judge, is_there in able.items() if is_there)

    @model_validator(mode="after")
    def _consistent(self) -> AvaConfig:
        if not self.judges():
            raise ValueError(
                "`data` has demonstrations alone, and nobody to say who wins: name pairs in "
                "data.preferences, which may be the testing reward model's alone, or set "
                "exact_match: true if reference answers come to a number"
            )
        cells = self.cells()
        if twice := next((cell for cell in cells if cells.count(cell) > 1), None):
            raise ValueError(f"the arm {twice.label!r} is there twice; name each value once")
        for cell in cells:
            self._check_parts(cell)
        if self.continue_from == "sft" and self.sft is None:
            raise ValueError("continue_from is sft, and there is no `sft`: name its settings")
        if self.start.reward_model or (self.schedule and self.schedule.reward_model != "base"):
            raise ValueError(
                "start.reward_model and schedule.reward_model are of flows with one reward model: "
                "those of ava's arms all begin with the start, or with reward.base"
            )
        learns = any(cell.data == "preferences" for cell in cells)
        if learns and self.divided_data().split.rm_share == 0:
            raise ValueError(
                "data.split.rm_share is 0, and the arms learn from that share of the pairs: the "
                "rest is the testing reward model's"
            )
        if self.limits.longest_response < 2:
            raise ValueError(
                f"limits.max_response_tokens is {self.limits.longest_response}: a response needs a "
                "token and its end to leave a place with two actions to learn a reward from"
            )
        self.check_samples_fit({"sampling": self.sampling})
        self.check_context()
        self.check_gate()
        return self

    def _check_parts(self, cell: Cell) -> None:
        """Refuse what the data have not, what is left out twice, and drawing from a new Q head."""
        wants_pairs = cell.data == "preferences" or cell.pipeline == "reward_model"
        if wants_pairs and not self.data.has_preferences:
            raise ValueError(
                f"{cell.label!r} wants pairs, to learn from or to be measured on, and `data` has "
                "demonstrations alone: name data.preferences, or use pipeline direct with data "
                "demonstrations or afd"
            )
        if cell.objective not in TQR_OBJECTIVES:
            return
        if cell.pipeline == "direct" and not self.tqr.ptq:
            raise ValueError(
                f"tqr.ptq is false and {cell.label!r} trains a policy: without ptq the Q head is "
                "new and no pretrained policy; use reward_model, or set tqr.ptq"
            )
        goes_on = self.schedule is not None and self.schedule.policy != "base"
        if cell.pipeline == "direct" and goes_on and self.tqr.temperature != 1:
            raise ValueError(
                f"schedule.policy may be a policy of {cell.label!r}, whose temperature is "
                f"{self.tqr.temperature:g} (tqr.alpha), and a start is drawn from at 1: leave "
                "tqr.alpha at 1, or start from base"
            )
        left = (cell.tqr(self.tqr), cell.weights(self.ava))
        require_rewards(*left)
        if cell.ablation != "none" and left == (self.tqr, self.ava):
            raise ValueError(
                f"{cell.label!r} leaves out what is off for every arm: switch {cell.ablation} on "
                "in `tqr` or `ava`, or drop the ablation"
            )
