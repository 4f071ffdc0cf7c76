"""Scores of whole responses, and Preference Transformer's loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.ava import reward_weights
from tasks.objectives.response_scores import (
    TokenRewards,
    last_score,
    preference_transformer,
    return_score,
)
from tests.tasks.objectives.ava_rows import padded, weights_of
from tests.tasks.objectives.slow_ava import golden_row, spell

MASK = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rwt", [None, "mean1", "sum1"])
def test_the_golden_scores(rwt: str | None) -> None:
    """As the loops of the specification, whose numbers `test_ava_golden` has; `sum` is 4 of it."""
    for rejected in (False, True):
        row = golden_row(rejected=rejected)
        slow = spell(row, rwt=rwt)
        heads, texts = padded([row], width=8)
        weights = weights_of(heads, texts, rwt)
        mean = weights * heads.mean
        scores = [
            last_score(mean, texts.actions),
            return_score(mean, weights, texts.actions),
            return_score(mean, weights, texts.actions, return_scale="sum") / 4,
        ]
        expected = [slow.last, slow.whole, slow.whole]
        assert [score.item() for score in scores] == pytest.approx(expected)


def test_a_sum_is_the_printed_return() -> None:
    """Eq. 19 adds the weighted means, whose weights have the mean 1."""
    weights = reward_weights(drawn(3, 5, 2), drawn(3, 5, 2, seed=1), MASK)
    rewards = weights * drawn(3, 5, seed=2)
    total = return_score(rewards, weights, MASK, return_scale="sum")
    torch.testing.assert_close(total, rewards.sum(dim=1))


@given(st.integers(0, 99), st.floats(0.01, 100))
def test_the_scale_of_the_weights_changes_no_return(seed: int, scale: float) -> None:
    rewards, weights = drawn(3, 5, seed=seed), drawn(3, 5, seed=seed + 100).exp()
    torch.testing.assert_close(
        return_score(scale * rewards, scale * weights, MASK), return_score(rewards, weights, MASK)
    )


def test_groups_of_responses_are_scored_like_rows() -> None:
    rewards, weights = drawn(3, 5), drawn(3, 5, seed=1).exp()
    groups = [part.unsqueeze(1) for part in (rewards, weights, MASK)]
    assert torch.equal(last_score(groups[0], groups[2])[:, 0], last_score(rewards, MASK))
    assert torch.equal(return_score(*groups)[:, 0], return_score(rewards, weights, MASK))


@pytest.mark.parametrize("junk", [math.inf, -math.inf, math.nan, 1e30])
def test_nothing_outside_the_mask_matters(junk: float) -> None:
    def run(filling: float) -> tuple[Tensor, ...]:
        rewards, weights = (
            part.masked_fill(~MASK, filling).requires_grad_()
            for part in (drawn(3, 5), drawn(3, 5, seed=1).exp())
        )
        scores = return_score(rewards, weights, MASK) + last_score(rewards, MASK)
        scores.square().sum().backward()
        return scores.detach(), rewards.grad, weights.grad

    dirty, clean = run(junk), run(0.0)
    assert all(torch.equal(d, c) for d, c in zip(dirty, clean, strict=True))
    assert clean[0][2] == 0  # the row without a position


def test_preference_transformer_by_hand() -> None:
    """Chosen: weights (1, 3)/4 of rewards (log 3, log 3) give log 3. Rejected: log 3 - log 3 = 0.

    -log sigmoid(log 3) = log(1 + 1/3) = 0.287682.
    """
    u, real = math.log(3), torch.ones(1, 2, dtype=torch.bool)
    chosen = TokenRewards(torch.tensor([[u, 3 * u]]), torch.tensor([[1.0, 3.0]]), real)
    rejected = TokenRewards(torch.tensor([[u, -u]]), torch.tensor([[1.0, 1.0]]), real)
    assert preference_transformer(chosen, rejected).item() == pytest.approx(0.287682, abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_slopes_are_finite_at_extremes_and_inputs_unchanged(scale: float) -> None:
    leaves = [(scale * drawn(3, 5, 2, seed=seed)).float().requires_grad_() for seed in range(4)]
    leaves += [(scale * drawn(3, 5, seed=seed)).float().requires_grad_() for seed in (5, 6)]
    before = [leaf.detach().clone() for leaf in leaves]
    sides = []
    for queries, keys, rewards in (leaves[0:5:2], leaves[1:6:2]):
        weights = reward_weights(queries, keys, MASK)
        sides.append(TokenRewards(weights * rewards, weights, MASK))
    loss = preference_transformer(*sides)
    loss.sum().backward()
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert all(torch.equal(a.detach(), b) for a, b in zip(leaves, before, strict=True))


def test_gradients_agree_with_finite_differences() -> None:
    weights = drawn(3, 5, seed=1).exp().requires_grad_()
    rewards, other = drawn(3, 5).requires_grad_(), drawn(3, 4, seed=2).requires_grad_()

    def call(rewards: Tensor, weights: Tensor, other: Tensor) -> Tensor:
        rejected = TokenRewards(other, weights[:, :4], MASK[:, :4])
        return preference_transformer(TokenRewards(rewards, weights, MASK), rejected)

    assert torch.autograd.gradcheck(call, (rewards, weights, other))


def test_half_precision_is_raised() -> None:
    rewards, weights = drawn(3, 5).bfloat16(), drawn(3, 5, seed=1).exp().bfloat16()
    score = return_score(rewards, weights, MASK)
    assert score.dtype == torch.float32
    assert torch.equal(score, return_score(rewards.float(), weights.float(), MASK))
    assert torch.equal(last_score(rewards, MASK), last_score(rewards.float(), MASK))


def test_what_does_not_fit_is_refused() -> None:
    rewards = drawn(3, 5)
    with pytest.raises(ValueError, match="return_scale must be one of mean, sum, got 'max'"):
        return_score(rewards, rewards, MASK, return_scale="max")
    with pytest.raises(ValueError, match="one shape"):
        return_score(rewards, rewards[:, :4], MASK)
    with pytest.raises(ValueError, match="bool"):
        last_score(rewards, MASK.long())
    sides = (TokenRewards(rewards[:n], rewards[:n].exp(), MASK[:n]) for n in (3, 2))
    with pytest.raises(ValueError, match="one shape"):
        preference_transformer(*sides)
