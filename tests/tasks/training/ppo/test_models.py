"""Who the critic starts from, and who cannot be trained."""

from __future__ import annotations

import pytest
import torch

from tasks.models.loading import save_model
from tasks.models.scoring.scorers import RewardModelScorer
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tasks.training.data.selection import Encoder
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.models import load_models
from tests.tasks.models.random_heads import random_reward_model
from tests.tasks.training.ppo.tiny_ppo import SETTINGS


def _load(root, scorer, log, **settings):
    config, policy = PpoConfig(**(SETTINGS | settings)), root / "policy"
    encoder = Encoder.of(policy, config.template, config.limits, as_sampled=True)
    return load_models(policy, scorer, policy, encoder, config, log, 0)


def test_a_reward_model_scores_and_starts_the_critic(root, recording_log):
    tokenizer = load_tokenizer(root / "policy")
    model = random_reward_model(root / "policy", tokenizer, 4)
    save_model(model, tokenizer, root / "reward", "plain")
    loaded = _load(root, root / "reward", recording_log)
    assert isinstance(loaded.scorer, RewardModelScorer)
    assert "the critic starts from the reward model" in recording_log.notes
    assert loaded.critic.model.score.weight.equal(model.score.weight)
    assert not any(parameter.requires_grad for parameter in loaded.reference.parameters())
    assert all(parameter.requires_grad for parameter in loaded.actor.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_only_computes_is_kept_as_it_computes(precision, root, recording_log):
    """Reference and scorer have the 7 linear layers of their one block in bf16; the trained not."""
    tokenizer = load_tokenizer(root / "policy")
    save_model(random_reward_model(root / "policy", tokenizer, 4), tokenizer, root / "rm", "plain")
    scoring = {"precision": precision}
    loaded = _load(root, root / "rm", recording_log, precision=precision, scoring=scoring)
    halved = {
        name: [p.dtype for p in model.parameters()].count(torch.bfloat16)
        for name, model in {
            "actor": loaded.actor,
            "critic": loaded.critic,
            "reference": loaded.reference,
            "scorer": loaded.scorer.model,
        }.items()
    }
    expected = 7 if precision == "bf16" else 0
    assert halved == {"actor": 0, "critic": 0, "reference": expected, "scorer": expected}


def test_what_cannot_score_is_named(root, recording_log):
    with pytest.raises(ConfigError, match="can score"):
        _load(root, root / "missing", recording_log)


def test_a_checkpoint_holds_both_models_and_the_coefficient(root, monkeypatch, recording_log):
    from tests.tasks.training.ppo.test_rollouts import _rollouts

    models = _rollouts(root, monkeypatch)[2]
    with torch.no_grad():
        for parameter in models.module.parameters():
            parameter.add_(1.0)
    models.kl_coef = 0.123456789
    written = models.save(root / "state")
    other = _rollouts(root, monkeypatch)[2]
    other.load(root / "state", written)
    assert other.kl_coef == models.kl_coef
    ours, theirs = models.module.state_dict(), other.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
