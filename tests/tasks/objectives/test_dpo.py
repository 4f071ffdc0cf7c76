"""DPO by hand, as a loop, and as the K = 2 case of a cross-entropy over K responses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.objectives.dpo import dpo, dpo_rw

logp = st.floats(-200, 0)


def test_by_hand() -> None:
    """h = policy - reference; loss = log(1 + exp(-beta (h_w - h_l))).

    Row 0: h = (1, -1), beta 0.5 -> margin  1: log(1 + 1/e) = 0.313262.
    Row 1: h = (-1, 1), beta 0.5 -> margin -1: log(1 + e)   = 1.313262.
    Smoothing 0.1: 0.9 * 0.313262 + 0.1 * 1.313262 = 0.413262, and 1.213262.
    """
    policy = torch.tensor([[-1.0, -4.0], [-3.0, -2.0]], dtype=torch.float64)
    reference = torch.tensor([[-2.0, -3.0], [-2.0, -3.0]], dtype=torch.float64)
    plain = dpo(policy, reference, beta=0.5)
    smooth = dpo(policy, reference, beta=0.5, label_smoothing=0.1)
    assert plain.tolist() == pytest.approx([0.313262, 1.313262], abs=1e-6)
    assert smooth.tolist() == pytest.approx([0.413262, 1.213262], abs=1e-6)


@given(logp, logp, logp, logp, st.floats(0.01, 2), st.floats(0, 0.5))
def test_is_the_cross_entropy_with_the_annotator(w, lo, ref_w, ref_l, beta, smoothing) -> None:
    """Identity 2: the cross-entropy of softmax(beta h) with p_r = (1 - smoothing, smoothing)."""
    policy = torch.tensor([[w, lo]], dtype=torch.float64)
    reference = torch.tensor([[ref_w, ref_l]], dtype=torch.float64)
    value = dpo(policy, reference, beta=beta, label_smoothing=smoothing)
    log_choice = (beta * (policy - reference)).log_softmax(dim=-1)
    annotator = torch.tensor([1 - smoothing, smoothing], dtype=torch.float64)
    torch.testing.assert_close(value, -(annotator * log_choice).sum(dim=-1))


@given(logp, logp, st.floats(-100, 100), st.floats(0.01, 2))
def test_only_the_difference_of_the_log_ratios_counts(w, lo, shift, beta) -> None:
    policy = torch.tensor([[w, lo]], dtype=torch.float64)
    zero = torch.zeros_like(policy)
    value = dpo(policy, zero, beta=beta)
    torch.testing.assert_close(dpo(policy + shift, zero, beta=beta), value)
    assert value.item() == pytest.approx(_softplus(-beta * (w - lo)), rel=1e-9, abs=1e-12)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@pytest.mark.parametrize(
    "bad", [{"beta": 0.0}, {"beta": -1.0}, {"beta": 1.0, "label_smoothing": 0.6}]
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"beta|label_smoothing"):
        dpo(torch.zeros(1, 2), torch.zeros(1, 2), **bad)


def test_groups_that_are_not_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 2\), got \(1, 3\)"):
        dpo(torch.zeros(1, 3), torch.zeros(1, 3), beta=1.0)


def test_dpo_rw_by_hand() -> None:
    """h = (log 2, 0, 0) gives p_f = (2, 1, 1) / 4; r / beta_r = log (1, 1, 2): p_r = (1, 1, 2) / 4.

    -(0.25 log 0.5 + 0.25 log 0.25 + 0.5 log 0.25) = 1.75 log 2 = 1.213008.
    """
    policy = torch.tensor([[math.log(2), 0.0, 0.0]], dtype=torch.float64)
    rewards = 0.5 * torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64).log()
    value = dpo_rw(policy, torch.zeros_like(policy), rewards, beta_pi=1.0, beta_r=0.5)
    assert value.tolist() == pytest.approx([1.213008], abs=1e-6)


@given(logp, logp, logp, logp, st.floats(0.01, 2))
def test_dpo_is_dpo_rw_with_a_one_hot_choice(w, lo, ref_w, ref_l, beta) -> None:
    """Identity 2: a reward gap of 1e6 beta_r leaves the rejected response no weight at all."""
    policy = torch.tensor([[w, lo]], dtype=torch.float64)
    reference = torch.tensor([[ref_w, ref_l]], dtype=torch.float64)
    rewards = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    value = dpo_rw(policy, reference, rewards, beta_pi=beta, beta_r=1e-6)
    torch.testing.assert_close(value, dpo(policy, reference, beta=beta))


@given(st.integers(0, 10**6), st.floats(0.05, 2), st.floats(0.05, 2))
def test_dpo_rw_is_the_forward_divergence_plus_an_entropy(seed, beta_pi, beta_r) -> None:
    generator = torch.Generator().manual_seed(seed)
    policy, reference, rewards = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64)
    value = dpo_rw(policy, reference, rewards, beta_pi=beta_pi, beta_r=beta_r)
    log_p = (rewards / beta_r).log_softmax(-1)
    log_f = (beta_pi * (policy - reference)).log_softmax(-1)
    divergence = (log_p.exp() * (log_p - log_f)).sum(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    torch.testing.assert_close(value, divergence + entropy)
    assert (divergence >= -1e-12).all()
