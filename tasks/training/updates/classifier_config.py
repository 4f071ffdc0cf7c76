"""How the text classifier is made. Imports no library: `sparring plan` reads it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.models.base_policy import hub_name
from tasks.settings.base import FrozenConfig, Seed
from tasks.training.config import TrainingConfig

_FOLDER = "a folder"
"""Stands in a key for a folder: what is in it counts, not where it lies."""


class ClassifierConfig(FrozenConfig):
    """The oracle of plain texts: logistic regression on hashed word n-grams, or a transformer."""

    base: str | None = None
    """Folder or hub name (`NAME` or `NAME@REVISION`) of a language model or an encoder that is
    fine-tuned to classify. Default: none, the oracle is a logistic regression."""

    model: str | None = None
    """Folder or hub name of a finished classifier, any `AutoModelForSequenceClassification`, taken
    as it is. Default: none."""

    label: str | int | None = None
    """The label of `model`, by name or number, whose log-odds are the reward. Default: its only
    one, or the second of two."""

    reads: Literal["text", "chat"] = "text"
    """How `model` reads a dialogue: its turns as lines with the response behind them, or in the
    chat template that its tokenizer has."""

    max_tokens: int = Field(default=512, ge=2)
    """Longest text that a transformer reads; a longer one loses its end. Default 512: EXO's
    release."""

    training: TrainingConfig = TrainingConfig(
        learning_rate=1e-5, batch_size=256, num_train_epochs=5
    )
    """The optimiser that fine-tunes `base`. Default: EXO's release on IMDB (GPT-2 large)."""

    seed: Seed = 0
    """Of the order of the texts that `base` is fine-tuned on."""

    ngrams: int = Field(default=2, ge=1, le=5)
    """Longest run of words that is one feature; shorter ones are features too."""

    features: int = Field(default=1 << 18, ge=2, le=1 << 24)
    """Places that n-grams are hashed into. Default 262,144: more gained nothing on IMDB."""

    inverse_regularisation: float = Field(default=10.0, gt=0)
    """C of scikit-learn's logistic regression: larger fits closer and gives larger log-odds."""

    max_iterations: int = Field(default=200, ge=1)
    """Most steps of L-BFGS."""

    limit: int | None = Field(default=None, ge=1)
    """Train on so many texts, chosen by the hash of their text; None for all."""

    least_accuracy: float = Field(default=0.85, ge=0, le=1)
    """Share of held-out texts that must be classified rightly, or the stage fails. Default: what
    an oracle of the IMDB experiment must reach."""

    @property
    def source(self) -> str | None:
        """The transformer that is fine-tuned or taken; None for a logistic regression."""
        return self.base or self.model

    def in_key(self) -> Self:
        """Return it without the place where a folder lies."""
        named = {name: getattr(self, name) for name in ("base", "model")}
        folders = {name: _FOLDER for name, one in named.items() if one and not hub_name(one)[0]}
        return self.model_copy(update=folders)

    @model_validator(mode="after")
    def _one_transformer(self) -> ClassifierConfig:
        if self.base and self.model:
            raise ValueError("give base (fine-tuned) or model (finished), not both")
        return self
