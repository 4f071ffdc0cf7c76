"""Whoever can score: a reward model, a text classifier, an exact oracle, or reference answers.

What a path holds is told by its content, so that every stage that needs scores takes any of them.
Each scorer reads text and brings its own tokenizer, so it may score any policy's responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tasks.data.files import INDEX
from tasks.data.groups import Group
from tasks.models.scoring.config import CLASSIFIER_FILE, WORLD_FILE, ScoringConfig
from tasks.models.scoring.final_numbers import FinalNumberScorer
from tasks.models.tqr.marker import TQR_FILE
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Scorer(Protocol):
    """Gives every response of a group a reward; larger is better."""

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return one finite reward per response, for each group in order; they are not changed.

        Raises:
            ConfigError: The scorer cannot judge one of the prompts.
            StageError: A reward is not a finite number; names the group.
        """

    def note_cut(self, log: Log) -> None:
        """Say how much of what was scored so far was longer than this scorer reads."""


def open_scorer(path: Path, config: ScoringConfig, log: Log | None = None) -> Scorer:
    """Load the scorer that lies at a path.

    Args:
        path: A reward model's or TQR's folder, a classifier's folder, the playground's
            `world.json` or its folder, or a folder of groups with reference answers.
        config: How a reward model reads; a classifier that is a transformer takes precision and
            batch size of it, the others nothing.
        log: Is told where a reward model cannot share prompts.

    Raises:
        ConfigError: There is none of them, or it cannot be loaded.
    """
    if path.is_file() or (path / WORLD_FILE).is_file():
        return WorldScorer(path)
    is_model = (path / "config.json").is_file()
    if (path / CLASSIFIER_FILE).is_file():
        return _transformer(path, config) if is_model else ClassifierScorer(path)
    if is_model and (path / TQR_FILE).is_file():
        return _tqr(path, config, log)
    if is_model:
        return RewardModelScorer.load(path, config, log)
    if (path / INDEX).is_file():
        return FinalNumberScorer(path)
    raise ConfigError(
        f"nothing at {path} can score: expected a reward model's folder (config.json), a "
        f"classifier's ({CLASSIFIER_FILE}), a playground's {WORLD_FILE} or reference answers "
        f"({INDEX})"
    )


def _transformer(path: Path, config: ScoringConfig) -> Scorer:
    from tasks.models.scoring.text_scorer import TextClassifierScorer

    batch_tokens, precision = config.batch_tokens, config.precision
    return TextClassifierScorer.load(path, batch_tokens=batch_tokens, precision=precision)


def _tqr(path: Path, config: ScoringConfig, log: Log | None) -> Scorer:
    from tasks.models.scoring.tqr_scorer import TqrScorer

    return TqrScorer.load(path, config, log)


class RewardModelScorer:
    """A reward model of ours, in the memory of the device where it scores."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: ScoringConfig,
        log: Log | None = None,
    ) -> None:
        """Wrap a loaded model; the log is told once where prompts cannot be shared."""
        self.model, self.tokenizer = model, tokenizer
        self._config, self._log = config, log
        self._cut: Counter[str] = Counter()

    @classmethod
    def load(cls, path: Path, config: ScoringConfig, log: Log | None = None) -> RewardModelScorer:
        """Load model and tokenizer onto the device that there is, kept as it computes.

        Raises:
            ConfigError: The folder holds no reward model.
        """
        from tasks.models.precision import keep_as_computed
        from tasks.models.reward_model import load_reward_model
        from tasks.models.tokens.tokenizer import load_tokenizer

        model = load_reward_model(path, dtype="float32").requires_grad_(False)
        keep_as_computed(model, config.precision)
        return cls(model, load_tokenizer(path), config, log)

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return the reward at the last token of every response; see `Scorer`."""
        from tasks.models.scoring.group_scores import score_groups

        config, log = self._config, self._log
        # Said once, however often it is asked.
        self._log = None
        return score_groups(
            self.model,
            self.tokenizer,
            config.template,
            groups,
            config.limits,
            config.batch_tokens,
            precision=config.precision,
            log=log,
            cut=self._cut,
        )

    def note_cut(self, log: Log) -> None:
        """Say how many responses and prompts were not read whole; see `Scorer`."""
        from tasks.models.scoring.group_scores import note_what_was_cut

        note_what_was_cut(self._cut, self._config.limits, log)


class ClassifierScorer:
    """A classifier of texts; the reward is its log-odds of the prompt with the response, nats."""

    def __init__(self, path: Path) -> None:
        """Load the classifier.

        Raises:
            ConfigError: The folder is damaged or from another version.
        """
        from tasks.models.scoring.classifier import load_classifier

        self._classifier = load_classifier(path)

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return the log-odds of each whole text: the prompt's turns as lines, and the response."""
        texts = []
        for group in groups:
            beginning = "\n".join(turn.content for turn in group.prompt)
            texts += [beginning + response for response in group.responses]
        values = iter(self._classifier.log_odds(texts))
        return [[next(values) for _ in group.responses] for group in groups]

    def note_cut(self, log: Log) -> None:
        """Say nothing: it reads texts of any length."""


class WorldScorer:
    """The playground's oracle, which knows the true reward of any response to its prompts."""

    def __init__(self, path: Path) -> None:
        """Read the world: `world.json`, or the folder that holds it.

        Raises:
            ConfigError: It is not a playground's world.
        """
        from tasks.data.playground.world import load_world

        self._world = load_world(path)

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return the oracle's points; see `Scorer`."""
        return [self._points(group) for group in groups]

    def note_cut(self, log: Log) -> None:
        """Say nothing: it reads texts of any length."""

    def _points(self, group: Group) -> list[float]:
        try:
            return [self._world.oracle_reward(group.prompt, text) for text in group.responses]
        except ValueError as error:
            raise ConfigError(
                f"the playground's oracle cannot judge the group {group.title} ({error}); score "
                "these prompts with a reward model or a classifier"
            ) from error
