"""Configuration of the flow `judge`: two sides, what they answer, and who judges."""

from __future__ import annotations

from pydantic import Field

from tasks.data.sources.config import SourceConfig
from tasks.evaluation.judging.config import JudgeConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.settings.base import FrozenConfig, Seed


class JudgedSide(FrozenConfig):
    """One side of a match: answers that are there, or a policy that gives them."""

    name: str
    """What it is called in the report."""

    answers: str = ""
    """`STAGE/KEY` of a folder of groups, with the part behind it where it is one."""

    file: SourceConfig | None = None
    """A file of answers."""

    policy: str = ""
    """`STAGE/KEY` of a policy, or the folder of one, that answers the run's prompts."""

    rollout: RolloutConfig = RolloutConfig()
    """How the policy answers: as it did for its evaluation, if there was one."""


class Tester(FrozenConfig):
    """A reward model whose winners are compared with the judge's."""

    model: str
    """`STAGE/KEY` of it."""

    scoring: ScoringConfig
    """How it scores."""


class JudgeRunConfig(FrozenConfig):
    """One match of two sides, as `sparring judge` resolved what the user named."""

    ours: JudgedSide
    """Whose wins are counted."""

    theirs: JudgedSide
    """The opponent."""

    judge: JudgeConfig
    """Who judges, and what is asked."""

    prompts: SourceConfig | None = None
    """Prompts that policies answer anew. Default: what each side has answered already."""

    references: str = ""
    """`STAGE/KEY` of the prompts with their own answers, part behind it; empty for none."""

    people: bool = False
    """Whether the judge also compares the chosen and the rejected answer of the same prompts."""

    testers: dict[str, Tester] = Field(default_factory=dict)
    """Reward models that score both sides, by name."""

    seed: Seed = 0
    """Of the policies' draws and of the intervals."""
