"""Fitting the text classifier: the oracle of the IMDB experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.data.files import read_groups
from tasks.models.scoring.classifier import Classifier, Hashing, save_classifier
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.training.updates.classifier_config import ClassifierConfig


class LabelledTexts(NamedTuple):
    """Texts, and for each the label that a classifier learns."""

    texts: list[str]
    """N texts."""
    labels: np.ndarray
    """1 or 0. Shape (N,), int64."""


def fit_classifier(
    labelled: Path, held_out: Path, config: ClassifierConfig, output: Path, log: Log
) -> dict[str, float]:
    """Fit, measure on held-out texts, and save.

    Args:
        labelled: Folder of groups with one response each, whose score is its label.
        held_out: The same with other texts.
        config: Features, regularisation, and the accuracy that is asked for.
        output: Receives the classifier.
        log: Where the accuracy is noted.

    Returns:
        `accuracy`, `log_loss` (nats) and `log_odds_deviation` (nats) on the held-out texts,
        `train_accuracy`, `texts`, `held_out_texts`, and `iterations` of the solver.

    Raises:
        ConfigError: A text has no label, or all have the same.
        StageError: The held-out accuracy is below `config.least_accuracy`.
    """
    train = read_labelled(labelled, config.limit)
    test = read_labelled(held_out)
    hashing = Hashing(config.ngrams, config.features)
    features = hashing.matrix(train.texts)
    classifier, iterations = _fit(features, train.labels, hashing, config)
    known = features @ classifier.weights + classifier.intercept
    metrics = held_out_metrics(classifier.log_odds(test.texts), test, config, log)
    metrics |= {
        "train_accuracy": _accuracy(known, train.labels),
        "texts": float(len(train.texts)),
        "iterations": float(iterations),
    }
    save_classifier(classifier, output)
    return metrics


def held_out_metrics(
    log_odds: Sequence[float], test: LabelledTexts, config: ClassifierConfig, log: Log
) -> dict[str, float]:
    """Return how well a classifier tells held-out texts apart.

    Args:
        log_odds: Of each text, nats.
        test: The texts with their labels.
        config: The accuracy that is asked for.
        log: Where the accuracy is noted.

    Returns:
        `accuracy`, `log_loss` and `log_odds_deviation` (nats), and `held_out_texts`.

    Raises:
        StageError: The accuracy is below `config.least_accuracy`.
    """
    found = np.array(log_odds)
    metrics = {
        "accuracy": _accuracy(found, test.labels),
        "log_loss": float(np.logaddexp(0.0, np.where(test.labels == 1, -found, found)).mean()),
        "log_odds_deviation": float(found.std()),
        "held_out_texts": float(len(test.texts)),
    }
    log.note(f"{metrics['accuracy']:.1%} of {len(test.texts)} held-out texts classified rightly")
    if metrics["accuracy"] < config.least_accuracy:
        remedy = "name the good one (oracle.label)" if config.model else "give more labelled texts"
        raise StageError(
            f"the classifier is right on {metrics['accuracy']:.1%} of the held-out texts, and "
            f"least_accuracy is {config.least_accuracy:.1%}: {remedy}, or lower it"
        )
    return metrics


def read_labelled(folder: Path, limit: int | None = None) -> LabelledTexts:
    """Read texts and labels.

    Args:
        folder: Of groups with one response each, whose score is its label.
        limit: Only so many, those whose ids hash lowest: a file may be sorted by label.

    Raises:
        ConfigError: A text has no label, or all have the same.
    """
    rows = []
    for group in read_groups(folder):
        if len(group.responses) != 1 or group.scores is None or group.scores[0] not in (0.0, 1.0):
            raise ConfigError(
                f"{folder} holds the group {group.title} with {len(group.responses)} responses and "
                f"scores {group.scores}: a classifier learns from single texts whose score is "
                "their label, 1 or 0, as prepare_texts writes `labelled`"
            )
        rows.append((hashlib.sha256(group.id.encode()).digest(), group))
    rows.sort(key=lambda row: row[0])
    kept = [group for _, group in rows[:limit]]
    labels = np.array([int(group.scores[0]) for group in kept if group.scores])
    if len(set(labels.tolist())) < 2:
        raise ConfigError(
            f"{folder} gives {len(kept)} texts with the labels {sorted(set(labels.tolist()))}: a "
            "classifier needs texts of both labels"
        )
    return LabelledTexts([group.responses[0] for group in kept], labels)


def _fit(
    features: Any, labels: np.ndarray, hashing: Hashing, config: ClassifierConfig
) -> tuple[Classifier, int]:
    from sklearn.linear_model import LogisticRegression

    # L-BFGS starts at zero and draws nothing: the same texts give the same weights.
    model = LogisticRegression(C=config.inverse_regularisation, max_iter=config.max_iterations)
    model.fit(features, labels)
    weights = model.coef_[0].astype(np.float32)
    return Classifier(hashing, weights, float(model.intercept_[0])), int(model.n_iter_[0])


def _accuracy(log_odds: np.ndarray, labels: np.ndarray) -> float:
    return float(((log_odds > 0) == (labels == 1)).mean())
