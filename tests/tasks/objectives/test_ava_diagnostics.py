"""What tells whether AVA's rewards can be believed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.objectives.ava import AvaTerms, ava_p
from tasks.objectives.ava_diagnostics import (
    gaussian_coverage,
    normal_coverage,
    share_floored,
    std_histogram,
    td_quantiles,
)


def everywhere(values: Tensor) -> Tensor:
    return torch.ones_like(values, dtype=torch.bool)


@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=9),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_quantiles_are_torchs(values: list[float], levels: list[float]) -> None:
    td = torch.tensor(values, dtype=torch.float64)
    expected = td.abs().quantile(torch.tensor(levels, dtype=torch.float64))
    found = td_quantiles(td, everywhere(td), levels=levels)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_floored_share_is_that_of_the_tokens_without_a_slope() -> None:
    log_lik = torch.linspace(-6, 0, 20, dtype=torch.float64).reshape(4, 5).requires_grad_()
    real = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.8
    zero = torch.zeros(4, 5, dtype=torch.float64)
    side = AvaTerms(zero, zero, log_lik, zero, zero, real, real)
    ava_p(side._replace(log_lik=zero), side, gamma=0.9, lam=0.5, beta=2.0, vocab_size=30).backward()
    still = (log_lik.grad[real] == 0).double().mean()
    assert 0 < still < 1
    assert share_floored(log_lik, real, vocab_size=30) == still


def test_a_histogram_by_hand() -> None:
    """Edges at ln σ = -3, -1, 1, 3: two below -1 (one of them beyond -3), one on 1, one beyond 3.

    The masked 0 is in no bin.
    """
    log_std = torch.tensor([-9.0, -1.5, 0.0, 1.0, 8.0])
    histogram = std_histogram(log_std, torch.tensor([True, True, False, True, True]), bins=3)
    assert histogram.counts.tolist() == [2, 0, 2]
    assert histogram.edges.log().tolist() == pytest.approx([-3, -1, 1, 3])
    assert std_histogram(log_std, everywhere(log_std)).counts.sum() == 5


def test_coverage_of_draws_from_the_gaussian_is_the_gaussians() -> None:
    draw = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(40_000, generator=draw) for _ in range(3))
    td = mean + log_std.exp() * noise
    shares = gaussian_coverage(td, mean, log_std, everywhere(td))
    assert shares.tolist() == pytest.approx(normal_coverage([1, 2]), abs=0.01)
    assert normal_coverage([1, 2]) == pytest.approx([0.6827, 0.9545], abs=1e-4)
    narrow = gaussian_coverage(td, mean, log_std - math.log(2), everywhere(td), within=[2.0])
    assert narrow.item() == pytest.approx(normal_coverage([1])[0], abs=0.01)


def test_what_is_masked_is_not_looked_at_and_nothing_is_changed() -> None:
    td = torch.tensor([[0.5, math.nan], [-3.0, math.inf]], requires_grad=True)
    before, real = td.detach().clone(), torch.tensor([[True, False], [True, False]])
    zero = torch.zeros(2, 2)
    assert td_quantiles(td, real, levels=[0.0, 1.0]).tolist() == [0.5, 3.0]
    assert gaussian_coverage(td, zero, zero, real).tolist() == [0.5, 0.5]
    assert share_floored(td, real, vocab_size=4).item() == 0.5
    assert std_histogram(td, real, bins=2).counts.tolist() == [1, 1]
    assert not td_quantiles(td, real).requires_grad
    assert torch.equal(td[real], before[real])


def test_of_no_position_shares_are_nan_and_bins_are_empty() -> None:
    none = torch.zeros(2, 0)
    mask = everywhere(none)
    assert td_quantiles(none, mask).isnan().all()
    assert gaussian_coverage(none, none, none, mask).isnan().all()
    assert share_floored(none, mask, vocab_size=9).isnan()
    assert std_histogram(none, mask).counts.tolist() == [0] * 24


def test_what_is_impossible_is_refused() -> None:
    one = torch.zeros(1)
    with pytest.raises(ValueError, match="level must be from 0 to 1"):
        td_quantiles(one, everywhere(one), levels=[95])
    with pytest.raises(ValueError, match="vocab_size must be at least 2"):
        share_floored(one, everywhere(one), vocab_size=1)
    with pytest.raises(ValueError, match=r"0 bin\(s\)"):
        std_histogram(one, everywhere(one), bins=0)
    with pytest.raises(ValueError, match="low < high"):
        std_histogram(one, everywhere(one), low=1.0, high=1.0)
    with pytest.raises(ValueError, match="one shape"):
        gaussian_coverage(one, one, torch.zeros(2), everywhere(one))
    with pytest.raises(ValueError, match="bool"):
        td_quantiles(one, one)
