"""What a user sets about evaluation reaches the stages that it concerns."""

from __future__ import annotations

from tasks.evaluation.config import EvaluationConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.models.tokens.encoding import Limits


def test_stages_are_told_what_concerns_them() -> None:
    config = EvaluationConfig(bins=7, examples=3, bootstrap_samples=11)
    scoring = ScoringConfig(batch_tokens=5)
    assert config.of_reward_model(scoring).model_dump() == {
        "scoring": scoring.model_dump(),
        "bins": 7,
    }
    told = config.of_policy(Limits(), None, chosen=True, temperature=0.8)
    assert (told.chosen, told.examples, told.bootstrap_samples) == (True, 3, 11)
    assert told.temperature == 0.8
