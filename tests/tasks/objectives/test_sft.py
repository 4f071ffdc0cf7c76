"""Imitation losses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.objectives.sft import rjs, sft


def test_sft_is_the_negative() -> None:
    assert sft(torch.tensor([-3.0, -0.5])).tolist() == [3.0, 0.5]


@given(st.integers(0, 500), st.integers(1, 6))
def test_rjs_equals_the_loop(seed: int, size: int) -> None:
    """-log pi of the first real sample with the highest reward."""
    generator = torch.Generator().manual_seed(seed)
    logps = torch.randn(4, size, generator=generator)
    rewards = torch.randint(-2, 3, (4, size), generator=generator).float()
    mask = torch.rand(4, size, generator=generator) < 0.7
    expected = []
    for p, r, real in zip(logps.tolist(), rewards.tolist(), mask.tolist(), strict=True):
        slots = [k for k in range(size) if real[k]]
        expected.append(-p[max(slots, key=lambda k: r[k])] if slots else 0.0)
    assert rjs(logps, rewards, mask=mask).tolist() == pytest.approx(expected)


def test_rjs_trains_the_best_sample_only() -> None:
    logps = torch.tensor([[-3.0, -1.0, -2.0]], requires_grad=True)
    rjs(logps, torch.tensor([[0.1, 0.4, 0.9]])).sum().backward()
    assert logps.grad.tolist() == [[0.0, 0.0, -1.0]]


def test_rjs_with_the_lowest_reward_there_is() -> None:
    """A real sample whose reward is -inf still beats an empty slot."""
    logps = torch.tensor([[-7.0, -5.0]])
    rewards = torch.tensor([[0.0, float("-inf")]])
    assert rjs(logps, rewards, mask=torch.tensor([[False, True]])).tolist() == [5.0]


def test_rjs_on_a_group_of_no_slots() -> None:
    assert rjs(torch.zeros(2, 0), torch.zeros(2, 0)).tolist() == [0.0, 0.0]
