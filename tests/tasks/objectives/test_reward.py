"""Bradley–Terry and its K-wise form."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.reward import bradley_terry, ranking

reward = st.floats(-50, 50)


def test_bradley_terry_by_hand() -> None:
    """-log sigmoid(d) = log(1 + exp(-d)).

    d = 0: log 2 = 0.693147;  d = log 3: log(1 + 1/3) = 0.287682;  d = -log 3: log 4 = 1.386294.
    """
    chosen = torch.tensor([1.0, math.log(3), 0.0], dtype=torch.float64)
    rejected = torch.tensor([1.0, 0.0, math.log(3)], dtype=torch.float64)
    expected = torch.tensor([math.log(2), math.log(4 / 3), math.log(4)], dtype=torch.float64)
    torch.testing.assert_close(bradley_terry(chosen, rejected), expected)


@given(reward, reward)
def test_gradient_is_the_probability_of_the_other_choice(winner: float, loser: float) -> None:
    """Identity 6: d loss / d r_w = -sigmoid(r_l - r_w), the opposite for r_l; both at most 1."""
    pair = torch.tensor([winner, loser], dtype=torch.float64, requires_grad=True)
    bradley_terry(pair[0], pair[1]).backward()
    slope = 1 / (1 + math.exp(winner - loser))
    torch.testing.assert_close(pair.grad, torch.tensor([-slope, slope], dtype=torch.float64))
    assert pair.grad.abs().max() <= 1


@given(reward, reward)
def test_swapping_the_pair_flips_the_sign_of_the_logit(winner: float, loser: float) -> None:
    """Identity 6: loss(l, w) - loss(w, l) = logit(w over l) = r_w - r_l."""
    w, loser_reward = torch.tensor([winner, loser], dtype=torch.float64)
    logit = bradley_terry(loser_reward, w) - bradley_terry(w, loser_reward)
    torch.testing.assert_close(logit, w - loser_reward, atol=1e-12, rtol=1e-12)


def _slow_ranking(rewards: Tensor, scores: Tensor, mask: Tensor) -> list[float]:
    """The definition, pair by pair, with the standard library."""
    values = []
    for r, s, real in zip(rewards.tolist(), scores.tolist(), mask.tolist(), strict=True):
        slots = [k for k in range(len(r)) if real[k]]
        losses = [math.log1p(math.exp(r[j] - r[i])) for i in slots for j in slots if s[i] > s[j]]
        values.append(sum(losses) / len(losses) if losses else 0.0)
    return values


@given(st.data())
def test_ranking_equals_the_loop_over_pairs(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 5))
    rows = [
        st.lists(kind, min_size=size, max_size=size)
        for kind in (st.floats(-9, 9), st.integers(0, 3))
    ]
    rewards = torch.tensor([data.draw(rows[0]) for _ in range(2)], dtype=torch.float64)
    scores = torch.tensor([data.draw(rows[1]) for _ in range(2)])
    mask = torch.tensor(
        [data.draw(st.lists(st.booleans(), min_size=size, max_size=size)) for _ in range(2)]
    )
    expected = torch.tensor(_slow_ranking(rewards, scores, mask), dtype=torch.float64)
    torch.testing.assert_close(ranking(rewards, scores, mask=mask), expected)


def test_ranking_of_pairs_is_bradley_terry() -> None:
    rewards = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    scores = torch.tensor([[1.0, 0.0]]).expand(6, 2)
    torch.testing.assert_close(
        ranking(rewards, scores), bradley_terry(rewards[:, 0], rewards[:, 1])
    )


def test_ties_contribute_nothing_and_no_nan() -> None:
    """Group 0 is all ties; in group 1 only (0, 2) and (1, 2) are pairs: (log 2 + log 2) / 2."""
    rewards = torch.zeros(2, 3, requires_grad=True)
    value = ranking(rewards, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([0.0, math.log(2)]))
    torch.testing.assert_close(rewards.grad, torch.tensor([[0.0, 0, 0], [-0.25, -0.25, 0.5]]))
