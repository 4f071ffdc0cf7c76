"""EXO by hand, as a divergence between two choices, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.dpo import dpo_rw
from tasks.objectives.exo import alignment_objective, exo_pref, exo_rw, log_choices

logp = st.floats(-100, 0)
beta = st.floats(0.05, 2)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_exo_pref_by_hand() -> None:
    """h = (1, -1), beta_pi 0.5: p_f = (sigma(1), sigma(-1)) = (0.731059, 0.268941), epsilon 0.1.

    0.731059 log(0.731059 / 0.9) + 0.268941 log(0.268941 / 0.1) = -0.151988 + 0.266070 = 0.114082.
    """
    value = exo_pref(row(-1, -4), row(-2, -3), beta_pi=0.5, epsilon=0.1)
    assert value.tolist() == pytest.approx([0.114082], abs=1e-6)


def test_exo_rw_by_hand() -> None:
    """h = (log 2, 0, log 1) gives p_f = (2, 1, 1) / 4; r / beta_r = log (1, 1, 2): (1, 1, 2) / 4.

    0.5 log 2 + 0.25 log 1 + 0.25 log(1/2) = 0.25 log 2 = 0.173287.
    """
    rewards = 0.5 * row(1, 1, 2).log()
    value = exo_rw(row(math.log(2), 0, 0), row(0, 0, 0), rewards, beta_pi=1.0, beta_r=0.5)
    assert value.tolist() == pytest.approx([0.173287], abs=1e-6)


@given(logp, logp, logp, logp, beta, st.floats(1e-3, 0.49), st.floats(0.1, 3))
def test_preferences_are_rewards_of_two(w, lo, ref_w, ref_l, beta_pi, epsilon, beta_r) -> None:
    """Identity 1: rewards whose softmax at beta_r is (1 - epsilon, epsilon)."""
    policy, reference = row(w, lo), row(ref_w, ref_l)
    rewards = beta_r * row(1 - epsilon, epsilon).log()
    torch.testing.assert_close(
        exo_pref(policy, reference, beta_pi=beta_pi, epsilon=epsilon),
        exo_rw(policy, reference, rewards, beta_pi=beta_pi, beta_r=beta_r),
    )


@given(st.integers(0, 10**6), beta, beta)
def test_is_cross_entropy_less_entropy_and_never_negative(seed, beta_pi, beta_r) -> None:
    """Identity 3, by a loop over the responses."""
    policy, reference, rewards = (5 * drawn(seed + k, 2, 5) for k in range(3))
    values = exo_rw(policy, reference, rewards, beta_pi=beta_pi, beta_r=beta_r)
    for b in range(2):
        f = [beta_pi * float(policy[b, k] - reference[b, k]) for k in range(5)]
        p_f, p_r = _softmax(f), _softmax([float(r) / beta_r for r in rewards[b]])
        cross = -sum(p * math.log(q) for p, q in zip(p_f, p_r, strict=True))
        entropy = -sum(p * math.log(p) for p in p_f)
        expected = cross - entropy
        assert values[b].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert (values >= -1e-12).all()


def _softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


@given(st.integers(0, 10**6), st.floats(0.5, 2), st.floats(0.5, 2))
def test_is_zero_where_the_choices_are_equal_and_nowhere_else(seed, beta_pi, beta_r) -> None:
    """Equal up to a constant per prompt: h = r / (beta_pi beta_r) + c."""
    reference, rewards = drawn(seed, 3, 4), drawn(seed + 1, 3, 4)
    policy = reference + rewards / (beta_pi * beta_r) + 7.0
    value = exo_rw(policy, reference, rewards, beta_pi=beta_pi, beta_r=beta_r)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-9, rtol=0)
    policy[:, 0] += 1.0
    assert (exo_rw(policy, reference, rewards, beta_pi=beta_pi, beta_r=beta_r) > 1e-12).all()


@given(st.integers(0, 10**6), st.permutations(range(4)), st.floats(-50, 50))
def test_constants_and_order_do_not_count(seed, order, constant) -> None:
    policy, reference, rewards = (drawn(seed + k, 2, 4) for k in range(3))
    value = exo_rw(policy, reference, rewards, beta_pi=0.5, beta_r=0.3)
    shifted = [
        exo_rw(policy + constant, reference, rewards, beta_pi=0.5, beta_r=0.3),
        exo_rw(policy, reference, rewards + constant, beta_pi=0.5, beta_r=0.3),
        exo_rw(*(t[:, list(order)] for t in (policy, reference, rewards)), beta_pi=0.5, beta_r=0.3),
    ]
    for other in shifted:
        torch.testing.assert_close(other, value, atol=1e-9, rtol=1e-9)


@given(st.integers(0, 10**6))
def test_slots_change_places_with_their_gradients(seed) -> None:
    policy, reference, rewards = (drawn(seed + k, 2, 4) for k in range(3))
    order = [2, 0, 3, 1]
    gradients = []
    for columns in (list(range(4)), order):
        leaf = policy[:, columns].requires_grad_()
        value = exo_rw(leaf, reference[:, columns], rewards[:, columns], beta_pi=0.7, beta_r=0.2)
        gradients.append(torch.autograd.grad(value.sum(), leaf)[0])
    torch.testing.assert_close(gradients[0][:, order], gradients[1])


def test_the_choices_are_shares_of_the_real_slots() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    policy, reference = drawn(1, 2, 3), drawn(2, 2, 3)
    for log_share in log_choices(
        policy, reference, drawn(3, 2, 3), beta_pi=0.5, beta_r=0.5, mask=mask
    ):
        assert (log_share[~mask] == 0).all()
        assert log_share[0, :2].exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, -0.1, 0.7, math.nan])
def test_epsilon_out_of_range_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must lie in"):
        exo_pref(row(0, 0), row(0, 0), beta_pi=1.0, epsilon=epsilon)


@pytest.mark.parametrize("bad", [{"beta_pi": 0.0}, {"beta_pi": -1.0}, {"beta_r": 0.0}])
@pytest.mark.parametrize("loss", [exo_rw, dpo_rw, alignment_objective])
def test_coefficients_that_are_not_positive_are_refused(loss, bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be positive"):
        loss(row(0, 0), row(0, 0), row(0, 0), **({"beta_pi": 1.0, "beta_r": 1.0} | bad))


def test_groups_that_are_not_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 2\), got \(1, 3\)"):
        exo_pref(row(0, 0, 0), row(0, 0, 0), beta_pi=1.0)
