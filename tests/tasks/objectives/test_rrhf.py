"""RRHF: by hand, as a loop, and its identity on ordered log-probabilities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.rrhf import rrhf, rrhf_terms


def test_by_hand() -> None:
    """Three responses, rewards (3, 2, 1), log-probabilities (-6, -2, -3), lengths (3, 2, 1).

    Per token: (-2, -1, -3). Misordered: (0, 1) by 1. Ranking term 1; best is slot 0: 2. Weights
    (1, 0.5): 2; (100, 1): 102. Sums (eq. 5): (0, 1) by 4 and (0, 2) by 3: ranking term 7, best 6;
    weights (1, 1): 13.
    """
    logps = torch.tensor([[-6.0, -2.0, -3.0]])
    rewards, lengths = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3, 2, 1]])
    assert rrhf(logps, rewards, lengths, sft_weight=0.5).tolist() == [2.0]
    assert rrhf(logps, rewards, lengths, ranking_weight=100).tolist() == [102.0]
    assert rrhf(logps, rewards, lengths, length_normalize=False).tolist() == [13.0]
    terms = rrhf_terms(logps, rewards, lengths)
    assert [term.tolist() for term in terms] == [[1.0], [2.0]]


def _slow(logps: Tensor, rewards: Tensor, lengths: Tensor, mask: Tensor) -> list[float]:
    values = []
    for p, r, n, real in zip(*(t.tolist() for t in (logps, rewards, lengths, mask)), strict=True):
        slots = [k for k in range(len(p)) if real[k]]
        hinge = sum(
            max(0.0, p[i] / n[i] - p[j] / n[j]) for i in slots for j in slots if r[i] < r[j]
        )
        best = max(slots, key=lambda k: r[k], default=None)
        values.append(hinge - (0.0 if best is None else p[best] / n[best]))
    return values


@given(st.integers(0, 500), st.integers(1, 5))
def test_equals_the_loop(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logps = -10 * torch.rand(3, size, generator=generator, dtype=torch.float64)
    rewards = torch.randint(0, 3, (3, size), generator=generator)  # with ties
    lengths = torch.randint(1, 9, (3, size), generator=generator)
    mask = torch.rand(3, size, generator=generator) < 0.7
    value = rrhf(logps, rewards, lengths, mask=mask)
    assert value.tolist() == pytest.approx(_slow(logps, rewards, lengths, mask), abs=1e-9)


@given(st.lists(st.tuples(st.floats(-9, 0), st.integers(-5, 5)), min_size=1, max_size=6))
def test_no_ranking_loss_in_reward_order(slots: list[tuple[float, int]]) -> None:
    """Identity 8: sort both the same way and the ranking term is 0."""
    logps = torch.tensor([sorted(p for p, _ in slots)])
    rewards = torch.tensor([sorted(r for _, r in slots)])
    ranking, _ = rrhf_terms(logps, rewards, torch.ones_like(rewards))
    assert ranking.item() == 0


def test_ties_contribute_nothing() -> None:
    ranking, likelihood = rrhf_terms(
        torch.tensor([[-1.0, -9.0]]), torch.tensor([[2.0, 2.0]]), torch.ones(1, 2)
    )
    assert ranking.item() == 0
    assert likelihood.item() == 1  # the first of equals is the best


def test_a_response_without_a_token_is_refused() -> None:
    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="at least one token, got length 0"):
        rrhf(zeros, zeros, torch.tensor([[1, 0]]))
    assert rrhf(zeros, zeros, torch.tensor([[1, 0]]), length_normalize=False).item() == 0


@pytest.mark.parametrize("weight", ["ranking_weight", "sft_weight"])
def test_a_negative_weight_is_refused(weight: str) -> None:
    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=weight):
        rrhf(zeros, zeros, zeros + 1, **{weight: -0.1})


@pytest.mark.parametrize("length_normalize", [True, False])
def test_both_terms_pull_equally_at_equal_weights(length_normalize: bool) -> None:
    """A misordered pair of 40 tokens each: both terms move the better response by the same."""
    logps = torch.tensor([[-80.0, -40.0]], requires_grad=True)
    terms = rrhf_terms(
        logps,
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[40, 40]]),
        length_normalize=length_normalize,
    )
    ranking, likelihood = (
        torch.autograd.grad(term.sum(), logps, retain_graph=True)[0] for term in terms
    )
    assert ranking[0, 0] == likelihood[0, 0] == (-1 / 40 if length_normalize else -1)
