"""The classifier learns what it is shown, the same way every time, and knows its own accuracy."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group
from tasks.data.text_config import TextsConfig
from tasks.data.texts import prepare_texts
from tasks.models.scoring.classifier import load_classifier
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import NullLog
from tasks.training.updates.classifier import fit_classifier, read_labelled
from tasks.training.updates.classifier_config import ClassifierConfig

CONFIG = ClassifierConfig(features=1 << 12)
WORDS = {1: "fine lovely splendid".split(), 0: "dull dreary awful".split()}


def made_up(count: int, seed: int, noise: float = 0.0) -> list[Group]:
    """Texts of neutral words around one that gives the label away."""
    chance = random.Random(seed)
    groups = []
    for number in range(count):
        label = number % 2
        shown = 1 - label if chance.random() < noise else label
        words = [*chance.choices("the film was long and had music".split(), k=6)]
        words.insert(chance.randrange(6), chance.choice(WORDS[shown]))
        groups.append(Group((), (" ".join(words),), (float(label),), id=f"{seed}-{number:030x}"))
    return groups


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    write_groups(tmp_path / "labelled", made_up(200, 0))
    write_groups(tmp_path / "held_out", made_up(60, 1))
    return tmp_path / "labelled", tmp_path / "held_out"


def test_metrics_are_those_of_the_saved_classifier(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    metrics = fit_classifier(*folders, CONFIG, tmp_path / "output", NullLog())
    assert metrics["accuracy"] == 1 and metrics["texts"] == 200 and metrics["held_out_texts"] == 60
    groups = list(read_groups(folders[1]))
    found = load_classifier(tmp_path / "output").log_odds([g.responses[0] for g in groups])
    # Log loss by its definition: -log σ(±log-odds).
    signs = [1 if group.scores == (1.0,) else -1 for group in groups]
    losses = [math.log1p(math.exp(-s * v)) for s, v in zip(signs, found, strict=True)]
    assert metrics["log_loss"] == pytest.approx(np.mean(losses))
    assert metrics["log_odds_deviation"] == pytest.approx(np.std(found))


def test_equal_texts_give_equal_bytes_in_any_order(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write_groups(tmp_path / "reversed", reversed(made_up(200, 0)))
    for name, labelled in (("one", folders[0]), ("two", tmp_path / "reversed")):
        fit_classifier(labelled, folders[1], CONFIG, tmp_path / name, NullLog())
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_limit_takes_texts_of_both_labels_from_a_sorted_file(tmp_path: Path) -> None:
    groups = sorted(made_up(200, 0), key=lambda group: group.scores or ())
    write_groups(tmp_path / "sorted", groups)
    found = read_labelled(tmp_path / "sorted", 40)
    assert len(found.texts) == len(found.labels) == 40
    assert 10 < found.labels.sum() < 30


def test_stronger_regularisation_gives_smaller_log_odds(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    spreads = [
        fit_classifier(
            *folders,
            CONFIG.model_copy(update={"inverse_regularisation": c}),
            tmp_path / f"{c}",
            NullLog(),
        )["log_odds_deviation"]
        for c in (0.1, 1.0, 10.0)
    ]
    assert spreads == sorted(spreads) and spreads[0] < spreads[-1] / 2


def test_an_oracle_that_knows_too_little_is_refused(tmp_path: Path) -> None:
    write_groups(tmp_path / "labelled", made_up(100, 0, noise=0.5))
    write_groups(tmp_path / "held_out", made_up(60, 1))
    with pytest.raises(StageError, match=r"right on \d\d\.\d% of the held-out .* is 85\.0%"):
        fit_classifier(
            tmp_path / "labelled", tmp_path / "held_out", CONFIG, tmp_path / "out", NullLog()
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([Group((), ("a",), id="p")], "holds the group p “.*” with 1 responses and scores None"),
        ([Group((), ("a",), (0.5,), id="p")], r"scores \(0.5,\)"),
        ([Group((), ("a", "b"), (1.0, 0.0), id="p")], "with 2 responses"),
        ([Group((), ("a",), (1.0,), id="p")], r"1 texts with the labels \[1\]"),
        ([], r"0 texts with the labels \[\]"),
    ],
)
def test_texts_that_teach_nothing_are_named(
    tmp_path: Path, groups: list[Group], words: str
) -> None:
    write_groups(tmp_path / "labelled", groups)
    with pytest.raises(ConfigError, match=words):
        read_labelled(tmp_path / "labelled")


def test_on_real_reviews_it_is_right_on_85_of_100(real_data: Path, tmp_path: Path) -> None:
    """6,000 reviews of the 24,402 suffice, whichever the hash chooses."""
    imdb = real_data / "imdb"
    train = [{"path": str(imdb / "train.jsonl.gz")}]
    texts = TextsConfig(
        prompts=train,
        labelled=train,
        held_out=[{"path": str(imdb / "dev.jsonl.gz")}],
    )
    prepare_texts(texts, tmp_path / "texts", NullLog())
    config = ClassifierConfig(limit=6000)
    parts = [tmp_path / "texts" / part for part in ("labelled", "held_out")]
    metrics = fit_classifier(*parts, config, tmp_path / "output", NullLog())
    assert metrics["accuracy"] >= 0.85
    assert metrics["held_out_texts"] == 500 and metrics["texts"] == 6000
    good, bad = load_classifier(tmp_path / "output").log_odds(
        ["A wonderful film, moving and superbly acted.", "A dull mess, badly written and boring."]
    )
    assert good > 1 and bad < -1
