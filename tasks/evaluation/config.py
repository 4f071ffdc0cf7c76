"""What a user may set about evaluation, and what each evaluation stage is told."""

from __future__ import annotations

from pydantic import Field, field_validator

from tasks.models.scoring.config import ScoringConfig
from tasks.models.tokens.encoding import Limits
from tasks.settings.base import FrozenConfig

EVALUATION = "evaluation.json"
"""The file that an evaluation stage writes, and that reports and the gate read."""


EXACT_MATCH = "exact_match"
"""The judge that compares the numbers that answers come to with those of reference answers."""


class RewardModelEvaluation(FrozenConfig):
    """How one reward model is measured on sets of groups."""

    scoring: ScoringConfig
    """Token limits and template of the reward model."""

    bins: int = Field(default=10, ge=1)
    """Uniform bins of the predicted preference probability."""


class PolicyEvaluation(FrozenConfig):
    """How one policy is measured and compared."""

    limits: Limits
    """Token limits of the policy, for its KL."""

    template: str | None
    """The policy's chat template by name; None for the tokenizer's own."""

    chosen: bool = False
    """The contender is the chosen response of each test pair, not a policy."""

    examples: int = Field(default=8, ge=0)
    """Prompts whose texts are kept for the report."""

    bootstrap_samples: int = Field(default=1000, ge=1)
    """Resamples of the prompts for each 95 % interval."""

    temperature: float = Field(default=1.0, gt=0)
    """The logits of policy and reference are divided by it for the KL: what the samples were drawn
    at."""


class BestOfN(FrozenConfig):
    """How the best of N samples is picked."""

    n: int = Field(default=128, ge=1)
    """Samples the best is picked from (N). Default 128: EXO, section 4."""

    most: int = Field(default=4, ge=1)
    """Blocks of N used per prompt, so picked responses per prompt at most. Default 4: EXO,
    appendix C, evaluates four completions per prompt."""


class Entry(FrozenConfig):
    """One contender, as the report shows it."""

    name: str
    """Its name in every table."""

    side: str
    """The line of Figure 5 that it is a point of."""

    epoch: int
    """APO epoch, 0 before the game."""

    scoring: str
    """The reward model that trained it, or `-`."""

    rival: str = ""
    """The same method with the fixed reward model after as many epochs; empty for none."""


class ReportConfig(FrozenConfig):
    """What the report of the flow `apo` must know beside the evaluations."""

    entries: tuple[Entry, ...]
    """Contenders in the order of Table 2."""

    method: str
    """The policy method."""

    objective: str
    """The reward-model objective of the game."""

    apo_epochs: int
    """Number of APO epochs."""

    examples: int
    """Prompts shown with outputs."""

    samples: int
    """Responses per query in training (S)."""

    max_queries: int | None = None
    """Policy queries sampled per epoch; None for all."""

    seen_by_testers: tuple[str, ...] = ()
    """Reward models whose dev accuracy is marked "seen": dev was in their training data."""

    gold_note: str = ""
    """What must be known about the gold before the figures are read; empty for gold of its own."""


class YardstickConfig(FrozenConfig):
    """What the scheduled runs of a deployment are compared by, so that their figures compare.

    The first one pins its test prompts, its testing reward models and its settings of evaluation,
    and the champion of that day; until there is one, its own policy. What is pinned is never
    collected.
    """

    series: int = Field(default=1, ge=1)
    """Another number begins a new series, which pins anew. Default 1."""


class EvaluationConfig(FrozenConfig):
    """What every flow may set about measuring policies and reward models."""

    bins: int = Field(default=10, ge=1)
    """Bins of the reward models' calibration errors."""

    bootstrap_samples: int = Field(default=1000, ge=1)
    """Resamples of the prompts for each 95 % interval."""

    examples: int = Field(default=8, ge=0)
    """Prompts shown with outputs in the report. Default 8."""

    yardstick: YardstickConfig | None = None
    """Measure each scheduled run by what the first one pinned, too: `sparring trend` shows it.
    `true` takes the defaults. Default: none."""

    @field_validator("yardstick", mode="before")
    @classmethod
    def _yardstick(cls, value: object) -> object:
        return ({} if value else None) if isinstance(value, bool) else value


class GateConfig(FrozenConfig):
    """What `sparring promote` asks of a candidate; null leaves a criterion out."""

    min_win_rate: float | None = Field(default=0.5, ge=0, lt=1)
    """The lower end of the 95 % interval of the candidate's win rate against the champion (ties
    count half; same test prompts, paired) must be above this."""

    tester: str = "RM_Test"
    """Who decides what wins: a testing reward model (RM_Test, RM_All), on the playground oracle, or
    exact_match where answers are compared by their final number."""

    min_judge_accuracy: float | None = Field(default=0.5, ge=0, lt=1)
    """The lower end of the 95 % interval of the tester's accuracy on the human test pairs must be
    above this; an oracle knows. Default 0.5: a judge that is not shown better than a coin shows
    nothing of a candidate."""

    min_judged_win_rate: float | None = Field(default=None, ge=0, lt=1)
    """The lower end of the 95 % interval of the win rate by the run's `judge`, a language model,
    against the champion (ties count half) must be above this. It is asked when promoting; its
    budget is that of `judge.endpoint`."""

    max_flipped: float | None = Field(default=None, ge=0, le=1)
    """Largest share of its verdicts that flip with the order of the answers."""

    max_ece: float | None = Field(default=None, gt=0, le=1)
    """Largest expected calibration error of the candidate's reward model on the human test pairs,
    a probability."""

    max_kl: float | None = Field(default=None, gt=0)
    """Largest KL(candidate‖what its run started from), nats per response."""

    @property
    def asks_judge(self) -> bool:
        """Whether a language model has to judge."""
        return self.min_judged_win_rate is not None or self.max_flipped is not None


class GateCheck(FrozenConfig):
    """What the stage `promote` is told."""

    gate: GateConfig
    """The criteria."""

    opponent: str
    """Whom the candidate is compared with: champion, or start where there is none."""

    bootstrap_samples: int
    """Resamples of the prompts for the 95 % interval."""
