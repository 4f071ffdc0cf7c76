"""The IRL terms of AVA: where they pull Q values and rewards, by closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.ava import ava_d
from tests.tasks.objectives.ava_rows import padded, terms, terms_of
from tests.tasks.objectives.slow_ava import golden_row


@given(st.floats(0, 1), st.integers(2, 6), st.integers(0, 99))
def test_discounted_errors_telescope(gamma: float, size: int, seed: int) -> None:
    """Σ γ^k δ_k = Q_0 - γ^K Q_K."""
    heads, texts = padded([golden_row(rejected=False)])
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(heads.logits.shape, generator=draw, dtype=torch.float64)
    side = terms_of(heads._replace(logits=logits), texts, rwt=None)
    td = (side.q - gamma * side.q_next)[side.irl_mask][: size - 1]
    powers = gamma ** torch.arange(len(td))
    q = side.q[side.action_mask]
    torch.testing.assert_close((powers * td).sum(), q[0] - gamma ** len(td) * q[len(td)])


def test_an_untrained_reward_head_penalises_squared_errors() -> None:
    """μ = 0, σ = 1: KL = 0 and -T = δ²/2 + log(2π)/2.

    q = (3, 1, 0), q_next = (1, 0, -), γ = 1: δ = 2 and 1, mean of δ²/2 = 1.25; λ = 0.5 of it.
    """
    q = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)
    side = terms(q=q, q_next=q.roll(-1, dims=1))
    loss = ava_d(*side, gamma=1.0, lam=0.5)
    assert loss.item() == pytest.approx(0.5 * (1.25 + math.log(2 * math.pi) / 2))


def at(mean: float, variance: float, td: float, lam: float) -> tuple[float, Tensor, Tensor]:
    """The loss and its slopes where one position has this reward and this error."""
    one = torch.ones(1, 1, dtype=torch.bool)
    m = torch.tensor([[mean]], dtype=torch.float64, requires_grad=True)
    s = torch.tensor([[math.log(variance) / 2]], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    loss = ava_d(zero + td, zero, zero, m, s, one, one, gamma=1.0, lam=lam)
    loss.backward()
    return loss.item(), m.grad, s.grad


@pytest.mark.parametrize(
    ("lam", "td", "mean", "variance"),
    [
        (0.5, 2.0, 0.55496, 1.30194),
        (0.5, 0.0, 0.0, 0.5),
        (0.1, 0.0, 0.0, 0.9),
        (1.0, 3.0, 1.0, 2.0),
        (1.0, -1.5, -1.0, 0.5),
    ],
)
def test_the_best_reward_for_an_error(lam: float, td: float, mean: float, variance: float) -> None:
    """m = λδ/(s² + λ), s² - (1 - λ) = λδ²s²/(s² + λ)²: no slope there, and more all around."""
    least, by_mean, by_std = at(mean, variance, td, lam)
    assert [by_mean.item(), by_std.item()] == pytest.approx([0, 0], abs=1e-5)
    for other in ((mean + 0.05, variance), (mean, variance * 1.1), (mean - 0.05, variance / 1.1)):
        assert at(*other, td, lam)[0] > least


def test_lambda_of_one_is_the_knife_edge() -> None:
    """|δ| <= 1: the loss falls to (δ² - 1)/2 + log(2π)/2 as σ → 0; above 1 it falls for ever."""
    assert at(0.5, 1e-12, 0.5, 1.0)[0] == pytest.approx(0.543939, abs=1e-6)
    assert at(0.5, 1e-12, 0.5, 1.5)[0] < at(0.5, 1e-6, 0.5, 1.5)[0] - 3


def test_an_error_above_its_reward_lowers_q_and_raises_the_next() -> None:
    """Descent moves Q_t by -λ(δ - μ)/σ² and Q_{t+1} by +γλ(δ - μ)/σ²."""
    q = torch.tensor([[1.0]], dtype=torch.float64, requires_grad=True)
    q_next = torch.tensor([[-0.5]], dtype=torch.float64, requires_grad=True)
    mean, log_std = (torch.tensor([[v]], dtype=torch.float64) for v in (0.2, math.log(0.7)))
    one, zero = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.float64)
    ava_d(q, q_next, zero, mean, log_std, one, one, gamma=0.9, lam=0.5).backward()
    pull = 0.5 * (1.0 + 0.9 * 0.5 - 0.2) / 0.49
    assert [-q.grad.item(), -q_next.grad.item()] == pytest.approx([-pull, 0.9 * pull])
