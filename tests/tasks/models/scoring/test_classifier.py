"""A classifier's log-odds are the linear form they claim to be, and come back from the disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.models.scoring.classifier import Classifier, Hashing, load_classifier, save_classifier
from tasks.settings.errors import ConfigError

FEATURES = 64


@pytest.fixture
def classifier() -> Classifier:
    weights = np.random.default_rng(0).normal(size=FEATURES).astype(np.float32)
    return Classifier(Hashing(2, FEATURES), weights, 0.25)


def test_log_odds_are_the_mean_direction_of_the_words(classifier: Classifier) -> None:
    """One word is one feature of value ±1: its weight, signed, plus the intercept."""
    single = classifier.log_odds(["good"])[0] - 0.25
    assert np.isclose(np.abs(classifier.weights.astype(float)), abs(single)).any()
    # Occurring twice counts once, but "good good" is a feature too: two features of 1/sqrt(2).
    pair = classifier.hashing.matrix(["good good"])
    assert np.allclose(np.abs(pair.data), 2**-0.5)
    # A text without a word has the intercept alone.
    assert classifier.log_odds(["", "..."]) == [0.25, 0.25]
    assert classifier.log_odds([]) == []


def test_a_text_counts_alone(classifier: Classifier) -> None:
    """The value of a text does not depend on what is scored with it, nor on case."""
    texts = ["A fine film.", "a dull, DULL film", "x"]
    together = classifier.log_odds(texts)
    assert together == [classifier.log_odds([text])[0] for text in texts]
    assert classifier.log_odds(["a FINE film"]) == together[:1]


def test_what_is_saved_is_what_is_loaded(classifier: Classifier, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_classifier(classifier, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    loaded = load_classifier(tmp_path / "one")
    texts = ["so good", "so bad", "neither"]
    assert loaded.log_odds(texts) == classifier.log_odds(texts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "its format is 2, this version reads 1"),
        ({"features": 8}, "8 finite weights are expected"),
        ({"intercept": "x"}, "ValueError"),
        ({"ngrams": None}, "TypeError"),
    ],
)
def test_a_foreign_classifier_is_refused(
    classifier: Classifier, tmp_path: Path, change: dict, words: str
) -> None:
    save_classifier(classifier, tmp_path)
    file = tmp_path / "classifier.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ConfigError, match=f"(?s)no classifier that can be used.*{words}"):
        load_classifier(tmp_path)


def test_damage_is_named(classifier: Classifier, tmp_path: Path) -> None:
    save_classifier(classifier, tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(ConfigError, match="SafetensorError"):
        load_classifier(tmp_path)
    weights.unlink()
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        load_classifier(tmp_path)
    (tmp_path / "classifier.json").write_text("{")
    with pytest.raises(ConfigError, match="CorruptError"):
        load_classifier(tmp_path)
