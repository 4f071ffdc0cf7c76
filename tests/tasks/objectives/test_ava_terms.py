"""The densities, Q values and weights of AVA, by closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.ava import gaussian_kl, q_values, reward_weights, td_log_density
from tests.tasks.objectives.slow_ava import q_of, weights_of

number = st.floats(-3, 3)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# The two densities


@given(number, st.floats(-2, 2), number, st.floats(0.2, 4))
def test_the_divergence_is_torchs(mean: float, log_std: float, at: float, width: float) -> None:
    """For any prior; and by the standard one, d/dμ = μ and d/dln σ = σ² - 1."""
    m, s = double(mean), double(log_std)
    value = gaussian_kl(m, s, prior_mean=at, prior_std=width)
    prior = torch.distributions.Normal(double(at), double(width))
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(m, s.exp()), prior)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    assert value.item() >= -1e-12
    gaussian_kl(m, s).backward()
    assert m.grad.item() == pytest.approx(mean)
    assert s.grad.item() == pytest.approx(math.exp(2 * log_std) - 1)


def test_the_divergence_by_hand() -> None:
    """½(0.7² + 0.4² - 1) - ln 0.4 = -0.175 + 0.916291; 0 only at the prior itself."""
    value = gaussian_kl(double(0.7, 0.0), double(math.log(0.4), 0.0))
    assert value.tolist() == pytest.approx([0.741291, 0.0], abs=1e-6)


def test_the_density_by_hand() -> None:
    """δ = 1.1, μ = 0.2, σ = 0.7, r = (δ - μ)/σ: slopes r/σ = 1.836735, r² - 1 = 0.653061, -r/σ."""
    td, mean, log_std = double(1.1), double(0.2), double(math.log(0.7))
    value = td_log_density(td, mean, log_std)
    expected = torch.distributions.Normal(double(0.2), double(0.7)).log_prob(td)
    torch.testing.assert_close(value, expected)
    value.backward()
    slopes = [part.grad.item() for part in (mean, log_std, td)]
    assert slopes == pytest.approx([1.836735, 0.653061, -1.836735], abs=1e-6)


@given(number, number, st.floats(-2, 2), st.floats(0.1, 5))
def test_a_weight_costs_the_density_its_logarithm(
    td: float, mean: float, log_std: float, weight: float
) -> None:
    """T(wδ; wμ, wσ) = T(δ; μ, σ) - ln w."""
    scaled = td_log_density(
        double(weight * td), double(weight * mean), double(math.log(weight) + log_std)
    )
    plain = td_log_density(double(td), double(mean), double(log_std))
    torch.testing.assert_close(scaled, plain - math.log(weight), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("extreme", [-3.0, 3.0])
def test_slopes_are_finite_at_the_models_clamp(extreme: float) -> None:
    td = torch.tensor([0.0, 1e4, -1e4], requires_grad=True)
    log_std = torch.full((3,), extreme, requires_grad=True)
    (gaussian_kl(td, log_std) - td_log_density(td, torch.zeros(3), log_std)).sum().backward()
    assert td.grad.isfinite().all() and log_std.grad.isfinite().all()


# Q values


@given(st.lists(number, min_size=2, max_size=6), st.floats(0.1, 5), st.data())
def test_q_equals_the_loops(logits: list[float], alpha: float, data: st.DataObject) -> None:
    q_map = data.draw(st.sampled_from(["logit", "prob", "raw"]))
    value = q_values(double(*logits).reshape(1, 1, -1), alpha=alpha, q_map=q_map)
    assert value.flatten().tolist() == pytest.approx(q_of(logits, alpha, q_map))


def test_of_a_policys_log_probabilities_q_is_that_of_its_logits() -> None:
    """log_softmax(α log π) = log_softmax(α z); with α = 1 it is log π, and again itself."""
    logits = drawn(2, 3, 7)
    log_policy = logits.log_softmax(-1)
    torch.testing.assert_close(q_values(log_policy, alpha=2.5), q_values(logits, alpha=2.5))
    torch.testing.assert_close(q_values(logits), log_policy)
    torch.testing.assert_close(q_values(q_values(logits)), log_policy)


@pytest.mark.parametrize(
    ("alpha", "low", "high"),
    [(1, -10.825, -9.825), (5, -10.828, -5.828), (10, -11.188, -1.188), (20, -20.0001, -0.0001)],
)
def test_as_printed_q_has_the_width_alpha(alpha: float, low: float, high: float) -> None:
    """`prob` at a vocabulary of 50,257: no policy gives Q outside these bounds."""
    certain = torch.full((1, 2, 50_257), -1e9, dtype=torch.float64)
    certain[:, 0, 0] = 0.0
    certain[:, 1] = drawn(50_257)
    q = q_values(certain, alpha=alpha, q_map="prob")
    assert q[0, 0, 0].item() == pytest.approx(high, abs=1e-3)
    assert q[0, 0, 1].item() == pytest.approx(low, abs=1e-3)
    assert (q.amax(-1) - q.amin(-1) <= alpha + 1e-12).all()
    assert low - 1e-3 <= q[0, 1].min() and q[0, 1].max() <= high + 1e-3


def test_the_slope_of_q_as_printed() -> None:
    """α π ⊙ ((e_y - π̃) - ⟨e_y - π̃, π⟩), which vanishes as π_y does."""
    logits, alpha, y = drawn(1, 1, 5).requires_grad_(), 4.0, 2
    q_values(logits, alpha=alpha, q_map="prob")[0, 0, y].backward()
    policy = logits.detach().flatten().softmax(-1)
    step = torch.eye(5, dtype=torch.float64)[y] - (alpha * policy).softmax(-1)
    expected = alpha * policy * (step - step @ policy)
    torch.testing.assert_close(logits.grad.flatten(), expected)


@pytest.mark.parametrize("q_map", ["logit", "prob", "raw"])
def test_q_of_a_position_depends_on_its_logits_alone(q_map: str) -> None:
    logits = drawn(1, 4, 5).requires_grad_()
    q_values(logits, q_map=q_map)[0, 1].square().sum().backward()
    elsewhere = torch.tensor([0, 2, 3])
    assert (logits.grad[0, elsewhere] == 0).all() and logits.grad[0, 1].abs().sum() > 0


@pytest.mark.parametrize("q_map", ["logit", "prob"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slopes_of_q_are_finite_at_extremes(q_map: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], dtype=dtype, requires_grad=True)
    q = q_values(logits, alpha=2.0, q_map=q_map)
    q.sum().backward()
    assert q.dtype == torch.float32 and q.isfinite().all()
    assert logits.grad.dtype == dtype and logits.grad.isfinite().all()


# Weights

MASK = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize("scale", ["mean1", "sum1"])
def test_weights_equal_the_loops(scale: str) -> None:
    queries, keys = drawn(3, 5, 4, seed=1), drawn(3, 5, 4, seed=2)
    weights = reward_weights(queries, keys, MASK, scale=scale)
    assert weights.dtype == torch.float64 and (weights[~MASK] == 0).all() and (weights >= 0).all()
    for row, real in enumerate(MASK):
        positions = real.nonzero().flatten().tolist()
        slow = weights_of(queries[row].tolist(), keys[row].tolist(), positions, scale)
        assert weights[row][real].tolist() == pytest.approx([slow[j] for j in positions])


@given(st.integers(0, 99), st.integers(1, 6), st.sampled_from(["mean1", "sum1"]))
def test_weights_sum_to_what_their_scale_says(seed: int, size: int, scale: str) -> None:
    hidden = drawn(2, size, 3, seed=seed)
    weights = reward_weights(hidden, hidden, torch.ones(2, size, dtype=torch.bool), scale=scale)
    expected = float(size if scale == "mean1" else 1)
    assert weights.sum(dim=1).tolist() == pytest.approx([expected] * 2)


@pytest.mark.parametrize("scale", ["mean1", "sum1"])
def test_equal_keys_weigh_alike(scale: str) -> None:
    """1/m each, times m with `mean1`: like no weights."""
    keys = torch.ones(3, 5, 4, dtype=torch.float64)
    weights = reward_weights(drawn(3, 5, 4), keys, MASK, scale=scale)
    size = MASK.sum(dim=1, keepdim=True).clamp(min=1)
    expected = MASK.double() if scale == "mean1" else MASK.double() / size
    torch.testing.assert_close(weights, expected, rtol=1e-15, atol=1e-15)


def test_every_position_of_the_response_looks_both_ways() -> None:
    """A key late in the response moves the first weight; one outside of it moves none."""
    queries, keys = drawn(1, 4, 2, seed=3), drawn(1, 4, 2, seed=4).requires_grad_()
    mask = torch.tensor([[False, True, True, True]])
    reward_weights(queries, keys, mask)[0, 1].backward()
    assert (keys.grad[0, 1:].abs().sum(dim=-1) > 0).all()
    assert (keys.grad[0, 0] == 0).all()


@pytest.mark.parametrize("junk", [math.inf, -math.inf, math.nan, 1e30])
def test_what_stands_outside_the_response_enters_nowhere(junk: float) -> None:
    def run(filling: float) -> tuple[Tensor, Tensor, Tensor]:
        parts = [
            drawn(3, 5, 4, seed=seed).masked_fill(~MASK.unsqueeze(-1), filling).requires_grad_()
            for seed in (5, 6)
        ]
        weights = reward_weights(*parts, MASK)
        (weights * drawn(3, 5, seed=7)).sum().backward()
        return weights.detach(), parts[0].grad, parts[1].grad

    for dirty, clean in zip(run(junk), run(0.0), strict=True):
        assert torch.equal(dirty, clean) and (dirty[~MASK] == 0).all()


def test_weights_are_finite_at_extremes_and_change_no_input() -> None:
    queries = (1e4 * drawn(3, 5, 4, seed=8)).float().requires_grad_()
    before = queries.detach().clone()
    weights = reward_weights(queries, queries, MASK)
    weights.square().sum().backward()
    assert weights.isfinite().all() and queries.grad.isfinite().all()
    assert torch.equal(queries.detach(), before)
    half = queries.detach().clamp(-9, 9).bfloat16()
    torch.testing.assert_close(
        reward_weights(half, half, MASK), reward_weights(half.float(), half.float(), MASK)
    )


# Refusals


def test_what_does_not_fit_is_refused() -> None:
    one, wide = torch.zeros(1, 2), torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="one shape"):
        gaussian_kl(one, torch.zeros(2))
    with pytest.raises(ValueError, match="prior_std must be positive"):
        gaussian_kl(one, one, prior_std=0.0)
    with pytest.raises(ValueError, match="one shape"):
        td_log_density(one, one, torch.zeros(2))
    with pytest.raises(ValueError, match="logits must have 3"):
        q_values(one)
    with pytest.raises(ValueError, match="alpha must be positive"):
        q_values(wide, alpha=0.0)
    with pytest.raises(ValueError, match="q_map must be one of logit, prob, raw, got 'log'"):
        q_values(wide, q_map="log")
    real = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="scale must be one of"):
        reward_weights(wide, wide, real, scale="max1")
    with pytest.raises(ValueError, match="bool"):
        reward_weights(wide, wide, real.float())
    with pytest.raises(ValueError, match="one shape"):
        reward_weights(wide, wide, real[:, :1])
    with pytest.raises(ValueError, match="3 dimension"):
        reward_weights(one, one, real)
