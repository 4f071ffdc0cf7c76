"""What the report of the flow `ava` is told, and how rewards of tokens are looked at.

Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.models.scoring.config import ScoringConfig
from tasks.settings.base import FrozenConfig, Seed

Kind = Literal["start", "chosen", "direct", "best_of_n", "ppo"]
TQRS = ("ava_p", "ava_d")
"""Objectives of AVA's."""
BASELINES = ("bradley_terry", "preference_transformer")
"""Those of the reward models that they are compared with."""
OWN = "its reward model"
"""The judge that is each contender's own: the reward model that picked or trained it, its proxy."""


class AvaEntry(FrozenConfig):
    """One contender: a policy, picked samples, or what both are measured against."""

    name: str
    """Name of its evaluation among those given to the report."""

    line: str
    """What tables call it: the arm without its seed, such as `PPO w/ AVA-p`."""

    kind: Kind
    """start: what every arm begins from. chosen: the chosen responses. direct: a policy that was
    trained on the data. best_of_n: picked samples of the start. ppo: the start, reinforced."""

    objective: str = ""
    """Of the policy, or of the reward model that picked or trained it; empty for start, chosen."""

    data: str = ""
    """What that learnt from: preferences, demonstrations or afd."""

    seed: Seed = 0
    """Of the arm."""

    responses: int | None = None
    """N of best-of-N."""

    start_proxy: float | None = None
    """The mean score that its reward model gives the start's samples; None without one."""

    def meets(self, theirs: AvaEntry) -> str | None:
        """Return the table of the paper in which AVA's contender meets another; None for none."""
        if self.objective not in TQRS:
            return None
        same_data = self.data == theirs.data
        if self.kind == "best_of_n":
            is_rival = theirs.kind == self.kind and theirs.objective in BASELINES
            return "table-2" if theirs.kind == "start" or (is_rival and same_data) else None
        if self.kind == "ppo":
            is_rival = theirs.kind == self.kind and theirs.objective in BASELINES
            is_sft = (theirs.kind, theirs.objective) == ("direct", "sft")
            return "table-3" if same_data and (is_rival or is_sft) else None
        if theirs.kind != "direct" or self.kind != "direct":
            return None
        if self.data == "preferences":
            return "table-4" if same_data and theirs.objective in ("sft", "dpo") else None
        if self.data != "demonstrations":
            return None
        is_afd = theirs.data == "afd" and theirs.objective in ("dpo", "ava_p")
        return "table-5" if is_afd or (same_data and theirs.objective == "sft") else None


class RewardEntry(FrozenConfig):
    """One reward model that was trained from preferences, or from demonstrations."""

    name: str
    """Name of its evaluation among those given to the report."""

    line: str
    """What tables call it: the arm without its seed, such as `AVA-p w/o rwt`."""

    objective: str
    """What trained it."""

    data: str
    """What it learnt from."""

    ablation: str = "none"
    """Which part of AVA was left out."""

    seed: Seed = 0
    """Of the arm."""


class AvaReportConfig(FrozenConfig):
    """What the report of the flow `ava` must know beside the evaluations."""

    entries: tuple[AvaEntry, ...]
    """Contenders in the order of the tables; exactly one is the start."""

    snapshots: tuple[AvaEntry, ...] = ()
    """Policies on PPO's way to an entry, in their order; only the plot of reward hacking has
    them."""

    rewards: tuple[RewardEntry, ...] = ()
    """Reward models in the order of the table of accuracies."""

    judges: tuple[str, ...] = Field(min_length=1)
    """Who scored every contender; the first one decides what wins."""

    testers: tuple[str, ...] = ()
    """Judges that are reward models, whose own accuracy was measured."""

    facts: dict[str, str] = {}
    """What was run, by name."""

    examples: int = Field(default=8, ge=0)
    """Prompts shown with outputs."""

    @model_validator(mode="after")
    def _one_start(self) -> AvaReportConfig:
        for named in ((*self.entries, *self.snapshots), self.rewards):
            names = [one.name for one in named]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"entries need names of their own, got {min(twice)!r} twice")
        count = sum(entry.kind == "start" for entry in self.entries)
        if count != 1:
            raise ValueError(f"expected one entry of kind start, got {count}")
        return self


class DiagnosisConfig(FrozenConfig):
    """How the rewards of a TQR are looked at, on pairs whose column 0 is the better response."""

    scoring: ScoringConfig
    """Token limits and template of the TQR, and which score is its own."""

    gamma: float = Field(default=0.99, ge=0, le=1)
    """Discount of the next Q in a temporal-difference error: that of the training."""

    most_groups: int = Field(default=500, ge=1)
    """Pairs looked at, drawn at random. Default 500."""

    examples: int = Field(default=8, ge=0)
    """Pairs of those that are shown as a heat-map. Default 8."""

    prefix_tokens: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """How many tokens of the responses are shown where the accuracy is measured on beginnings."""

    shuffles: int = Field(default=200, ge=1)
    """How often the oracle's penalties are shuffled within their responses, as a control."""
