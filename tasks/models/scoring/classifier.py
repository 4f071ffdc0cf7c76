"""A text classifier without a language model: logistic regression on hashed word n-grams.

The hashing keeps no vocabulary, so a classifier is two small files: `classifier.json`, which says
how texts become features, and `weights.safetensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.models.scoring.config import CLASSIFIER_FILE
from tasks.settings.errors import ConfigError
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json, write_atomic, write_json

FORMAT = 1
"""Raised when the same settings begin to give other features."""
_WEIGHTS = "weights.safetensors"
_NAME = "weight"


@dataclass(frozen=True)
class Hashing:
    """How texts become features: which of their n-grams occur, hashed, of unit length."""

    ngrams: int
    """Longest run of words that is one feature."""
    features: int
    """Places that n-grams are hashed into."""

    def matrix(self, texts: Sequence[str]) -> Any:
        """Return a sparse matrix, one row per text. Shape (N, features)."""
        from sklearn.feature_extraction.text import HashingVectorizer

        # Stateless, so the same text has the same features in every process.
        hashing = HashingVectorizer(
            n_features=self.features,
            ngram_range=(1, self.ngrams),
            token_pattern=r"(?u)\b\w+\b",
            binary=True,
            norm="l2",
            dtype=np.float64,
        )
        return hashing.transform(texts)


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier of texts into 1 and 0."""

    hashing: Hashing
    """How texts become features."""
    weights: np.ndarray
    """Nats per unit of each feature. Shape (features,), float32."""
    intercept: float
    """Log-odds of a text without words, nats."""

    def log_odds(self, texts: Sequence[str]) -> list[float]:
        """Return log p(1 | text) - log p(0 | text) of each text, nats."""
        if not texts:
            return []
        values = self.hashing.matrix(texts) @ self.weights.astype(np.float64) + self.intercept
        return [float(value) for value in values]


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write a classifier; the same one gives the same bytes."""
    from safetensors.numpy import save

    write_atomic(folder / _WEIGHTS, save({_NAME: classifier.weights.astype(np.float32)}))
    record = {
        "format": FORMAT,
        "ngrams": classifier.hashing.ngrams,
        "features": classifier.hashing.features,
        "intercept": classifier.intercept,
    }
    write_json(folder / CLASSIFIER_FILE, record)


def load_classifier(folder: Path) -> Classifier:
    """Load what `save_classifier` wrote.

    Raises:
        ConfigError: The folder is damaged, or another version wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        record = read_json(folder / CLASSIFIER_FILE)
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, this version reads {FORMAT}")
        hashing = Hashing(int(record["ngrams"]), int(record["features"]))
        weights, intercept = load_file(folder / _WEIGHTS)[_NAME], float(record["intercept"])
        if weights.shape != (hashing.features,) or not np.isfinite([*weights, intercept]).all():
            raise ValueError(f"{hashing.features} finite weights are expected")
    except (OSError, StorageError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder} holds no classifier that can be used ({type(error).__name__}: {error}); "
            "train it anew"
        ) from error
    return Classifier(hashing, weights, intercept)
