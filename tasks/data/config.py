"""The configuration of a run's data: which sources play which part, and how they are divided."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.data.playground.config import PlaygroundConfig
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import local_files
from tasks.data.sources.tally import MAX_BAD_SHARE
from tasks.data.splits import SplitConfig
from tasks.settings.base import FrozenConfig


class DataConfig(FrozenConfig):
    """The data of a run: its sources and how they are divided."""

    preferences: list[SourceConfig] = Field(default_factory=list)
    """Training preferences (D_P), divided into the reward model's and the policy's part. A flow
    that learns from demonstrations alone needs none; dev and test are then cut off those."""
    test: list[SourceConfig] = Field(default_factory=list)
    """Test preferences; empty cuts `split.test_share` off the training preferences."""
    demonstrations: list[SourceConfig] | Literal["chosen"] = "chosen"
    """Data of supervised fine-tuning; "chosen" takes the chosen responses outside dev and test."""
    rm_queries: list[SourceConfig] = Field(default_factory=list)
    """Prompts of D_APO, with golden responses if there are any; pairs of these prompts are in the
    reward model's part, whatever the shares. Empty: the prompts of that part."""
    policy_prompts: list[SourceConfig] = Field(default_factory=list)
    """Prompts that the policy answers in training, from a source of their own. Empty: those of its
    pairs."""
    extra_preferences: list[SourceConfig] = Field(default_factory=list)
    """More preferences, for the testing reward model RM_All only."""
    split: SplitConfig = SplitConfig()
    """Shares, seed, and whether dev's queries stay with the policy."""
    overlap: Literal["stop", "drop"] = "stop"
    """Rows whose first turn is also in a part that may not share it, such as test: stop the run,
    or drop them, counted."""
    max_bad_share: float = Field(default=MAX_BAD_SHARE, ge=0, le=1)
    """Largest share of unreadable records per source; one alone is let pass, unless this is 0."""
    shard_size: int = Field(default=10_000, ge=1)
    """Groups per shard file."""
    playground: PlaygroundConfig | None = None
    """Use the embedded playground's files where no sources are named."""

    @model_validator(mode="after")
    def _has_training_data(self) -> DataConfig:
        if not self.has_preferences and self.demonstrations in ([], "chosen"):
            raise ValueError(
                "name at least one source in `preferences`, or use the `playground`; a flow that "
                "learns from demonstrations alone wants a source in `demonstrations`"
            )
        return self

    @model_validator(mode="after")
    def _tests_on_other_rows(self) -> DataConfig:
        learnt = [_rows_of(source) for source in self.preferences]
        if twice := next((one for one in self.test if _rows_of(one) in learnt), None):
            raise ValueError(
                f"`test` names the rows of `preferences` ({twice.label}), and nobody is tested on "
                "what it was trained on: leave `test` out, and `split.test_share` is cut off"
            )
        return self

    @property
    def has_preferences(self) -> bool:
        """Whether there are training preferences; else demonstrations alone, and K = 1 in dev."""
        return bool(self.preferences) or self.playground is not None

    def require_preferences(self, flow: str) -> None:
        """Refuse demonstrations alone for a flow that learns from pairs.

        Raises:
            ValueError: There are no training preferences.
        """
        if not self.has_preferences:
            raise ValueError(
                f"{flow} learns from pairs and `data` has demonstrations alone: name at least one "
                "source in `preferences`, or use the `playground`"
            )

    @property
    def policy_part(self) -> str:
        """The part of the prepared data whose prompts the policy answers in training."""
        if self.policy_prompts:
            return "policy_prompts"
        return "policy_train" if self.has_preferences else "demonstrations"

    def with_usual_split(self, **usual: Any) -> DataConfig:
        """Return this config with values of `split` where it has none of its own."""
        own = {name: one for name, one in usual.items() if getattr(self.split, name) is None}
        return self.model_copy(update={"split": self.split.model_copy(update=own)})

    def resolved(self) -> DataConfig:
        """Return this config with the playground's files where no sources are named."""
        if self.playground is None or self.preferences:
            return self
        folder = Path(self.playground.folder)
        sources = {
            "preferences": "preferences.jsonl",
            "test": "test.jsonl",
            "demonstrations": "demonstrations.jsonl",
            "extra_preferences": "extra.jsonl",
        }
        ours = {
            key: [SourceConfig(path=str(folder / name))]
            for key, name in sources.items()
            if getattr(self, key) in ([], "chosen")
        }
        return self.model_copy(update=ours)

    def sources(self) -> list[SourceConfig]:
        """Return every source that will be read, in order."""
        config = self.resolved()
        demonstrations = [] if config.demonstrations == "chosen" else config.demonstrations
        return [
            *config.preferences,
            *config.test,
            *demonstrations,
            *config.rm_queries,
            *config.policy_prompts,
            *config.extra_preferences,
        ]

    def local_files(self) -> list[Path]:
        """Return every local file that will be read, in order, for the key of the stage.

        Raises:
            ConfigError: One does not exist; a playground must have been generated before.
        """
        return [file for source in self.sources() for file in local_files(source)]


def _rows_of(source: SourceConfig) -> tuple[Any, ...]:
    """Return what decides which rows a source holds."""
    place = source.hub or Path(str(source.path)).expanduser().absolute()
    return place, source.subsets, source.split, source.revision, sorted(source.where.items())
