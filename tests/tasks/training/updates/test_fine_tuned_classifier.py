"""A transformer learns to tell texts apart, and a finished one is taken over and measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import open_scorer
from tasks.models.scoring.text_classifier import start_text_classifier
from tasks.models.scoring.text_scorer import TextClassifierScorer
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tasks.settings.errors import StageError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import TrainingConfig
from tasks.training.updates.classifier_config import ClassifierConfig
from tasks.training.updates.fine_tuned_classifier import make_text_classifier
from tests.tasks.training.updates.test_classifier import made_up

TRAINING = TrainingConfig(
    learning_rate=5e-3, batch_size=16, num_train_epochs=3, precision="fp32", save_every=4
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    texts = (group.responses[0] for group in made_up(60, 9))
    tokenizer = train_tokenizer(texts, 320, folder / "tokenizer")
    shape = ArchitectureConfig(kind="llama", hidden_size=16, layers=1, heads=2, context=64)
    save_model(build_policy(shape, tokenizer, 0), tokenizer, folder / "base", "plain")
    return folder / "base"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("texts")
    write_groups(folder / "labelled", made_up(200, 0))
    write_groups(folder / "held_out", made_up(60, 1))
    return folder / "labelled", folder / "held_out"


def _made(base: Path, texts: tuple[Path, Path], folder: Path) -> dict[str, float]:
    (folder / "output").mkdir(parents=True)
    config = ClassifierConfig(base=str(base), training=TRAINING)
    return make_text_classifier(base, *texts, config, Workspace(folder), NullLog())


@pytest.fixture(scope="module")
def trained(
    base: Path, texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("trained") / "attempt"
    metrics = _made(base, texts, folder)
    return folder / "output", metrics


def test_it_learns_and_plain_transformers_says_the_same(
    trained: tuple[Path, dict[str, float]],
) -> None:
    from transformers import pipeline

    folder, metrics = trained
    assert metrics["accuracy"] > 0.9 and metrics["held_out_texts"] == 60
    assert metrics["samples_seen"] == 600
    scorer = open_scorer(folder, ScoringConfig(precision="fp32"))
    assert isinstance(scorer, TextClassifierScorer)
    good, bad = "the film was splendid", "the film was awful"
    told = pipeline("text-classification", model=str(folder), device="cpu")([good, bad])
    assert [one["label"] for one in told] == ["positive", "negative"]
    assert [value > 0 for value in scorer.log_odds([good, bad])] == [True, False]


def test_an_encoder_starts_at_even_odds(base: Path, tmp_path: Path) -> None:
    """Its head is fresh: its own pooler and a last layer of zeros."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = load_tokenizer(base)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    settings = BertConfig(vocab_size=len(tokenizer), num_attention_heads=2, **shape)
    encoder = BertForMaskedLM(settings)
    encoder.save_pretrained(tmp_path)
    model = start_text_classifier(tmp_path, tokenizer)
    with torch.no_grad():
        logits = model(**tokenizer("the film", return_tensors="pt")).logits
    assert logits.tolist() == [[0, 0]]


def test_equal_texts_give_equal_weights_in_any_order(
    base: Path, texts: tuple[Path, Path], trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    write_groups(tmp_path / "reversed", reversed(made_up(200, 0)))
    _made(base, (tmp_path / "reversed", texts[1]), tmp_path / "again")
    again = tmp_path / "again" / "output" / "model.safetensors"
    assert again.read_bytes() == (trained[0] / "model.safetensors").read_bytes()


def test_a_finished_classifier_is_taken_as_it_is_and_measured(
    texts: tuple[Path, Path], trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    def taken(name: str, **settings: object) -> dict[str, float]:
        (tmp_path / name / "output").mkdir(parents=True)
        config = ClassifierConfig(model=str(trained[0]), training=TRAINING, **settings)
        workspace = Workspace(tmp_path / name)
        return make_text_classifier(trained[0], None, texts[1], config, workspace, NullLog())

    assert taken("whole")["accuracy"] == trained[1]["accuracy"]
    with pytest.raises(StageError, match=r"name the good one \(oracle.label\)"):
        taken("wrong", label="negative")
