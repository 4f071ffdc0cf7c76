"""One step of learning, against the same computed without any of our layout."""

from __future__ import annotations

import pytest
import torch

from tasks.models.policy import load_policy
from tasks.objectives.ppo import ppo_policy_loss, ppo_value_loss
from tasks.training.ppo.experience import assign_credit, in_rows
from tasks.training.ppo.learning import Learner
from tests.tasks.training.ppo.test_rollouts import _rollouts


def _drawn(root, monkeypatch, **settings):
    rollouts, _, models, queries = _rollouts(root, monkeypatch, critic_warmup_steps=0, **settings)
    minibatches = rollouts.draw(queries[:4], 0)
    config = rollouts._config
    assign_credit([e for part in minibatches for e in part], config, 0.1)
    return minibatches, models, config


def _weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def _same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, two))


def test_the_frozen_actor_stays_and_the_critic_learns(root, monkeypatch):
    minibatches, models, config = _drawn(root, monkeypatch)
    config = config.model_copy(update={"critic_warmup_steps": 1})
    actor, critic = _weights(models.policy), _weights(models.critic)
    metrics = Learner(models, config).learn(minibatches, 0)
    assert _same(actor, _weights(models.policy)) and not _same(critic, _weights(models.critic))
    assert "loss/value_avg" in metrics and "loss/policy_avg" not in metrics
    metrics = Learner(models, config).learn(minibatches, 1)
    assert not _same(actor, _weights(models.policy))
    assert metrics["val/ratio"] != 1.0 and metrics["val/ratio_var"] > 0


def test_the_first_losses_are_those_of_whole_rows(root, monkeypatch):
    """One pass over one minibatch: the losses at the very weights that drew it, in rows."""
    minibatches, models, config = _drawn(root, monkeypatch, minibatches=1, ppo_epochs=1)
    metrics = Learner(models, config).learn(minibatches, 0)
    lengths = torch.cat([e.lengths for e in minibatches[0]])

    def rows(name: str) -> torch.Tensor:
        return in_rows(torch.cat([getattr(e, name) for e in minibatches[0]]), lengths)[0]

    mask = in_rows(torch.cat([e.logps for e in minibatches[0]]), lengths)[1]
    logps, values = rows("logps"), rows("values")
    policy = ppo_policy_loss(logps, logps, rows("advantages"), mask, clip=0.2)
    value = ppo_value_loss(values, values, rows("returns"), mask, clip=0.2)
    assert metrics["loss/policy_avg"] == pytest.approx(float(policy), abs=1e-6)
    assert metrics["loss/value_avg"] == pytest.approx(float(value), rel=1e-5)
    assert metrics["val/ratio"] == 1.0 and metrics["policy/approxkl_avg"] == 0.0
    assert metrics["policy/clipfrac_avg"] == metrics["val/clipfrac_avg"] == 0.0


def test_micro_batches_change_nothing_but_rounding(root, monkeypatch):
    results = []
    for budget in (10_000, 2):
        minibatches, models, config = _drawn(
            root, monkeypatch, micro_batch_tokens=budget, minibatches=1, actor_learning_rate=1e-3
        )
        metrics = Learner(models, config).learn(minibatches, 0)
        results.append((metrics, _weights(models.policy)))
    (one, weights), (two, others) = results
    assert one == pytest.approx(two, rel=1e-3, abs=1e-5)
    # AdamW divides by the gradient's size, which makes rounding visible where it is nearly 0.
    for first, second in zip(weights, others, strict=True):
        torch.testing.assert_close(first, second, atol=2e-4, rtol=1e-3)


def test_the_actors_gradient_raises_what_went_better_than_expected(root, monkeypatch):
    minibatches, models, config = _drawn(root, monkeypatch, minibatches=1, actor_learning_rate=1e-4)
    Learner(models, config).learn(minibatches, 0)
    gain = 0.0
    for e in minibatches[0]:
        change = models.policy.token_logps(e.of_actor).detach() - e.logps
        gain += float((change * e.advantages).sum())
    assert gain > 0
    start = load_policy(root / "policy", dtype="float32")
    assert not _same(_weights(models.policy), _weights(start))
