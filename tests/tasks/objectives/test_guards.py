"""The guards name what they refuse."""

from __future__ import annotations

import pytest
import torch

from tasks.objectives.guards import (
    full_mask,
    log_shares,
    raised,
    require_at_least,
    require_choice,
    require_ndim,
    require_not_negative,
    require_pairs,
    require_positive,
    require_same_shape,
    require_share,
    zero_outside,
)


def test_messages_name_the_tensor_and_what_was_got() -> None:
    with pytest.raises(ValueError, match=r"one shape, got a \(2,\), b \(3,\)"):
        require_same_shape(a=torch.zeros(2), b=torch.zeros(3))
    with pytest.raises(ValueError, match=r"a must have 2 dimension\(s\), got 1: \(3,\)"):
        require_ndim(2, a=torch.zeros(3))
    with pytest.raises(ValueError, match=r"a must have shape \(B, 2\), got \(2, 1\)"):
        require_pairs(a=torch.zeros(2, 1))


@pytest.mark.parametrize("number", [0.0, -1.0, float("inf"), float("nan")])
def test_positive_means_finite_and_above_zero(number: float) -> None:
    with pytest.raises(ValueError, match="beta must be positive"):
        require_positive(beta=number)


def test_not_negative_allows_zero() -> None:
    require_not_negative(weight=0.0)
    with pytest.raises(ValueError, match="weight"):
        require_not_negative(weight=float("nan"))


def test_a_mask_is_checked_or_made() -> None:
    values = torch.zeros(2, 3)
    assert full_mask(None, values).all()
    with pytest.raises(ValueError, match="one shape"):
        full_mask(torch.ones(3, dtype=torch.bool), values)


def test_raised_never_lowers() -> None:
    assert raised(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert raised(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert raised(torch.tensor([1])).dtype == torch.float32


def test_zero_outside_gives_no_gradient_outside() -> None:
    values = torch.tensor([1.0, float("inf")], requires_grad=True)
    (zero_outside(values, torch.tensor([True, False])) * 2).sum().backward()
    assert values.grad.tolist() == [2.0, 0.0]


def test_shares_are_of_the_real_slots_and_an_empty_row_has_none() -> None:
    """Of log 3, log 1 and junk the shares are 3/4 and 1/4; the second row is empty."""
    values = torch.tensor([[3.0, 1.0, 7.0], [2.0, 2.0, 2.0]]).log()
    values[:, 2] = float("nan")
    values.requires_grad_()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    shares = log_shares(values, mask)
    assert shares[0, :2].exp().tolist() == pytest.approx([0.75, 0.25])
    assert (shares[~mask] == 0).all()
    shares.sum().backward()
    # d/dv (v1 + v2 - 2 log(e^v1 + e^v2)) = 1 - 2 * share.
    assert values.grad.flatten().tolist() == pytest.approx([-0.5, 0.5, 0, 0, 0, 0])


@pytest.mark.parametrize("number", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(number: float) -> None:
    require_share(low=0.0, high=1.0)
    with pytest.raises(ValueError, match="gamma must be from 0 to 1"):
        require_share(gamma=number)


def test_an_unknown_choice_is_told_the_known_ones() -> None:
    require_choice(("log", "sigmoid"), link="log")
    with pytest.raises(ValueError, match="link must be one of log, sigmoid, got 'probit'"):
        require_choice(("log", "sigmoid"), link="probit")


def test_a_count_that_is_too_small_is_named() -> None:
    require_at_least(2, vocab_size=2)
    with pytest.raises(ValueError, match="vocab_size must be at least 2, got 1"):
        require_at_least(2, vocab_size=1)
