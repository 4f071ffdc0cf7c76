"""Rollouts: the policy's own tokens, scored, with metrics that do not depend on how they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.data.files import GroupFolder
from tasks.models.policy import load_policy
from tasks.models.sample_shards import unique_prompts
from tasks.settings.log import NullLog
from tasks.training.data.selection import Encoder
from tasks.training.ppo import models as ppo_models
from tasks.training.ppo.actor_critic import ActorCritic
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.models import load_models
from tasks.training.ppo.rollouts import PromptOrder, Rollouts
from tests.tasks.training.ppo.tiny_ppo import SETTINGS, LetterScorer


class NotingScorer(LetterScorer):
    """Remembers what it was shown."""

    def score(self, groups):
        self.seen = list(groups)
        return super().score(groups)


def _rollouts(root: Path, monkeypatch: pytest.MonkeyPatch, **settings):
    """Rollouts of the tiny policy, its scorer, its models, and its prompts."""
    config = PpoConfig(**(SETTINGS | settings))
    scorer = NotingScorer()
    monkeypatch.setattr(ppo_models, "open_scorer", lambda *args: scorer)
    policy = root / "policy"
    encoder = Encoder.of(policy, config.template, config.limits, as_sampled=True)
    loaded = load_models(policy, root / "x", policy, encoder, config, NullLog(), 0)
    models = ActorCritic(loaded, config)
    queries = unique_prompts(GroupFolder(root / "prompts"), None)
    return Rollouts(models, loaded.scorer, encoder, config, seed=5), scorer, models, queries


def test_metrics_are_those_of_the_tokens_as_drawn(root, monkeypatch):
    """Against the model alone, one response at a time, at temperature 0.7."""
    rollouts, scorer, _, queries = _rollouts(root, monkeypatch, temperature=0.7, minibatches=1)
    (minibatch,) = rollouts.draw(queries[:3], 0)
    model = load_policy(root / "policy", dtype="float32")
    found: dict[tuple[int, ...], list[float]] = {}
    for e in minibatch:
        ids = e.of_actor.targets.split(e.lengths.tolist())
        logps = e.logps.split(e.lengths.tolist())
        found |= {
            tuple(one.tolist()): values.tolist() for one, values in zip(ids, logps, strict=True)
        }
    assert len(scorer.seen) == 3
    encoder = Encoder.of(root / "policy", None, PpoConfig(**SETTINGS).limits)
    for group in scorer.seen:
        prompt = encoder.encode(group).prompt_ids
        for drawn in group.extra["ids"]:
            logits = model(torch.tensor([[*prompt, *drawn]])).logits[0, len(prompt) - 1 : -1] / 0.7
            expected = logits.log_softmax(dim=-1).gather(-1, torch.tensor(drawn)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(found[tuple(drawn)]), expected)


def test_scores_and_ends_stay_with_their_responses(root, monkeypatch):
    """However small the passes: with 1 token a pass, each response has a pass of its own."""
    found = []
    for budget in (10_000, 2):
        rollouts, scorer, _, queries = _rollouts(
            root, monkeypatch, micro_batch_tokens=budget, minibatches=2
        )
        minibatches = rollouts.draw(queries[:4], 1)
        assert len(minibatches) == 2
        experiences = [e for part in minibatches for e in part]
        assert len(experiences) == (2 if budget == 10_000 else 8)
        table = {}
        for e in experiences:
            ids = [tuple(t.tolist()) for t in e.of_actor.targets.split(e.lengths.tolist())]
            table |= dict(
                zip(ids, zip(e.scores.tolist(), e.ended.tolist(), strict=True), strict=True)
            )
        for group in scorer.seen:
            scores = scorer.score([group])[0]
            for drawn, score, ended in zip(
                group.extra["ids"], scores, group.extra["ended"], strict=True
            ):
                assert table[tuple(drawn)] == (pytest.approx(score), ended)
        found.append(table)
    assert found[0] == found[1]


def test_draws_are_named_by_seed_and_step(root, monkeypatch):
    rollouts, scorer, _, queries = _rollouts(root, monkeypatch)
    torch.manual_seed(1)
    rollouts.draw(queries[:4], 2)
    first = [group.responses for group in scorer.seen]
    torch.manual_seed(2)
    rollouts.draw(queries[:4], 2)
    assert [group.responses for group in scorer.seen] == first
    rollouts.draw(queries[:4], 3)
    assert [group.responses for group in scorer.seen] != first


def test_a_minibatch_starts_at_ratio_one_exactly(root, monkeypatch):
    """The metrics come from the passes that are learned from, so not even a rounding differs."""
    rollouts, _, models, queries = _rollouts(root, monkeypatch, minibatches=1)
    for e in rollouts.draw(queries, 0)[0]:
        assert torch.equal(models.policy.token_logps(e.of_actor).detach(), e.logps)
        assert torch.equal(models.critic(e.of_critic).detach(), e.values)
        assert torch.equal(e.logps, e.reference_logps)
        assert not (e.logps.requires_grad or e.values.requires_grad)


def test_the_policy_is_given_back_as_it_was(root, monkeypatch):
    rollouts, _, models, queries = _rollouts(root, monkeypatch)
    before = models.policy.model.config._attn_implementation, models.policy.shared
    rollouts.draw(queries[:2], 0)
    assert (models.policy.model.config._attn_implementation, models.policy.shared) == before


def test_prompts_come_in_turns_and_from_any_cursor():
    order = PromptOrder(5, seed=1)
    turns = [order.take(5 * turn, 5) for turn in range(4)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    whole = [number for turn in turns for number in turn]
    assert order.take(3, 9) == whole[3:12]
    assert order.take(7, 1) == whole[7:8]
    assert PromptOrder(5, seed=2).take(0, 20) != whole
    # More than there are: each again in a turn of its own.
    assert len(PromptOrder(2, seed=0).take(1, 7)) == 7
