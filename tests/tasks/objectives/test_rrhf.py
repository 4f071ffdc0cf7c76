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

    Per token: (-2, -1, -3). Misordered: (0, 1) by 1. Ranking term 1; best is slot 0: 6. With
    lambda 0.5: 4. Sums (eq. 5): (0, 1) by 4 and (0, 2) by 3. Ranking term 7; with lambda 1: 13.
    """
    logps = torch.tensor([[-6.0, -2.0, -3.0]])
    rewards, lengths = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3, 2, 1]])
    assert rrhf(logps, rewards, lengths, sft_weight=0.5).tolist() == [4.0]
    assert rrhf(logps, rewards, lengths, length_normalize=False).tolist() == [13.0]
    terms = rrhf_terms(logps, rewards, lengths)
    assert [term.tolist() for term in terms] == [[1.0], [6.0]]


def _slow(logps: Tensor, rewards: Tensor, lengths: Tensor, mask: Tensor) -> list[float]:
    values = []
    for p, r, n, real in zip(*(t.tolist() for t in (logps, rewards, lengths, mask)), strict=True):
        slots = [k for k in range(len(p)) if real[k]]
        hinge = sum(
            max(0.0, p[i] / n[i] - p[j] / n[j]) for i in slots for j in slots if r[i] < r[j]
        )
        values.append(hinge - (p[max(slots, key=lambda k: r[k])] if slots else 0.0))
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


def test_a_negative_weight_is_refused() -> None:
    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="sft_weight"):
        rrhf(zeros, zeros, zeros + 1, sft_weight=-0.1)
