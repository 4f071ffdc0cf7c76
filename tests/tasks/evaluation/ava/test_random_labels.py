"""What nobody can know is not known: AVA-p on labels drawn by a coin, and on equal texts."""

from __future__ import annotations

import random

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.config import RewardModelEvaluation
from tasks.evaluation.reward_model import measure_reward_model
from tasks.models.scoring.config import ScoringConfig
from tasks.settings.log import NullLog
from tests.tasks.evaluation.tqr_folder import WORDS, tqr_folder
from tests.tasks.training.small_tqrs import LIMITS, config_of, train

READINGS = ("last", "return", "logp")


def drawn(count: int, seed: int) -> list[Group]:
    """Pairs of random words, of which a coin makes one the better."""
    chance, words = random.Random(seed), " ".join(WORDS).split()

    def text() -> str:
        return " ".join(chance.choices(words, k=chance.randint(2, 5)))

    asked = [(Message("user", f"{text()}?"),) for _ in range(count)]
    return [Group(prompt, (text(), text()), (1.0, 0.0)) for prompt in asked]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Train on such pairs, and measure on them, on others and on pairs with two equal texts."""
    root = tmp_path_factory.mktemp("random")
    tqr_folder(root)
    sets = {"learnt": drawn(16, 0), "held_out": drawn(200, 1)}
    sets["equal"] = [Group(one.prompt, (one.responses[0],) * 2) for one in sets["held_out"][:20]]
    for name, groups in sets.items():
        write_groups(root / name, groups)
    often = {"num_train_epochs": 12, "learning_rate": 3e-3}
    train(root / "run", root / "policy", root / "learnt", config_of(training=often))
    config = RewardModelEvaluation(scoring=ScoringConfig(limits=LIMITS, precision="fp32"))
    (root / "output").mkdir()
    paths = {name: root / name for name in sets}
    return measure_reward_model(root / "run" / "output", paths, config, root / "output", NullLog())


@pytest.mark.parametrize("reading", READINGS)
def test_labels_by_a_coin_are_right_in_half_of_the_pairs(
    measured: dict[str, float], reading: str
) -> None:
    """Within two standard errors of 50 % on pairs that it did not see, well as it knows its own."""
    accuracy, error = (
        measured[f"held_out/{reading}_{name}"] for name in ("accuracy", "accuracy_se")
    )
    assert error == pytest.approx(0.0354, abs=0.001)
    assert abs(accuracy - 0.5) < 2 * error
    assert measured["learnt/last_accuracy"] > 0.8


@pytest.mark.parametrize("reading", READINGS)
def test_equal_texts_are_ties_and_a_tie_is_wrong(measured: dict[str, float], reading: str) -> None:
    assert measured[f"equal/{reading}_ties"] == 1
    assert measured[f"equal/{reading}_accuracy"] == 0
