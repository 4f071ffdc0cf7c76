"""What tells whether AVA's rewards can be believed: numbers about trained heads, no losses.

Each looks at the positions of a mask, in whatever shape, and has no gradient. Of no position at
all every share and quantile is nan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_at_least,
    require_same_shape,
    require_share,
)


class Histogram(NamedTuple):
    """How many values lie in each of the bins."""

    counts: Tensor
    """Number of values of each bin. Int64, shape (bins,)."""

    edges: Tensor
    """Where the bins begin, and where the last one ends. Shape (bins + 1,)."""


def td_quantiles(
    td: Tensor, mask: Tensor, *, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
) -> Tensor:
    """How large temporal-difference errors are.

    Args:
        td: The errors δ = q - γ q_next, reward units. Any shape.
        mask: The IRL positions. Bool, the same shape.
        levels: Which quantiles, each in [0, 1].

    Returns:
        Quantiles of |δ|, linear between neighbours, reward units. Shape (number of levels,).

    Raises:
        ValueError: if shapes differ, the mask is not bool or a level is outside [0, 1].

    Example:
        >>> td = torch.tensor([-3.0, 1.0, 2.0, 7.0])
        >>> td_quantiles(td, torch.tensor([True, True, True, False]), levels=[0.5, 1.0])
        tensor([2., 3.])
    """
    for level in levels:
        require_share(level=level)
    # Not torch.quantile, which refuses more than 16 million values.
    values = raised(td.detach())[full_mask(mask, td)].abs().sort().values
    if not len(values):
        return values.new_full((len(levels),), math.nan)
    places = torch.tensor(levels, dtype=torch.float64, device=values.device) * (len(values) - 1)
    below, above = places.floor().long(), places.ceil().long()
    return torch.lerp(values[below], values[above], (places - below).to(values.dtype))


def share_floored(log_lik: Tensor, mask: Tensor, *, vocab_size: int) -> Tensor:
    """The share of tokens that the floor of AVA-p's `neg_guard` no longer pushes down.

    Args:
        log_lik: Log-likelihood of rejected tokens without beta, nats. Any shape.
        mask: The action positions of rejected responses. Bool, the same shape.
        vocab_size: Number of tokens, as in `ava_p`.

    Returns:
        A share in [0, 1]. Shape ().

    Raises:
        ValueError: if shapes differ, the mask is not bool or vocab_size is below 2.

    Example:
        >>> log_lik = torch.tensor([0.5, 0.2, 0.1]).log()
        >>> share_floored(log_lik, torch.tensor([True, True, False]), vocab_size=4)
        tensor(0.5000)
    """
    require_at_least(2, vocab_size=vocab_size)
    real = raised(log_lik.detach())[full_mask(mask, log_lik)]
    return (real < -math.log(vocab_size)).to(real.dtype).mean()


def std_histogram(
    log_std: Tensor, mask: Tensor, *, bins: int = 24, low: float = -3.0, high: float = 3.0
) -> Histogram:
    """How certain the rewards are: a histogram of their standard deviation on a log scale.

    Args:
        log_std: Log of the weighted standard deviation. Any shape.
        mask: The positions to look at. Bool, the same shape.
        bins: Number of bins of equal width in log_std. At least 1.
        low: Where the first begins. What lies below is counted there, as what the model clamps is.
        high: Where the last ends, above `low`. What lies beyond is counted there.

    Returns:
        Counts, and edges in reward units.

    Raises:
        ValueError: if shapes differ, the mask is not bool, or bins or bounds are impossible.

    Example:
        >>> log_std, real = torch.tensor([-9.0, -1.0, 0.5]), torch.ones(3, dtype=torch.bool)
        >>> std_histogram(log_std, real, bins=2).counts
        tensor([2, 1])
    """
    if bins < 1 or not low < high:
        raise ValueError(f"{bins} bin(s) from {low} to {high}: one bin and low < high are needed")
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64, device=log_std.device)
    real = log_std.detach().double()[full_mask(mask, log_std)]
    places = torch.bucketize(real, edges[1:-1], right=True)  # a value on an edge is in the upper
    return Histogram(torch.bincount(places, minlength=bins), edges.exp())


def gaussian_coverage(
    td: Tensor,
    mean: Tensor,
    log_std: Tensor,
    mask: Tensor,
    *,
    within: Sequence[float] = (1.0, 2.0),
) -> Tensor:
    """How often a temporal-difference error lies as near to its reward's mean as it should.

    Args:
        td: The errors δ = q - γ q_next, reward units. Any shape.
        mean: Weighted mean of the reward. The same shape.
        log_std: Log of its weighted standard deviation. The same shape.
        mask: The IRL positions. Bool, the same shape.
        within: How many standard deviations are near.

    Returns:
        Share of positions with |δ - mean| < k std, for each k. Shape (number of k,).

    Raises:
        ValueError: if shapes differ or the mask is not bool.

    Example:
        Beside what a Gaussian that is right has, 68.3 and 95.4 per cent:

        >>> td, zeros = torch.tensor([0.5, -1.5, 3.0]), torch.zeros(3)
        >>> gaussian_coverage(td, zeros, zeros, torch.ones(3, dtype=torch.bool))
        tensor([0.3333, 0.6667])
        >>> tuple(round(share, 3) for share in normal_coverage((1.0, 2.0)))
        (0.683, 0.954)
    """
    require_same_shape(td=td, mean=mean, log_std=log_std)
    mask = full_mask(mask, td)
    td, mean, log_std = (raised(part.detach())[mask] for part in (td, mean, log_std))
    distance = (td - mean).abs() * (-log_std).exp()
    return torch.stack([(distance < k).to(distance.dtype).mean() for k in within])


def normal_coverage(within: Sequence[float]) -> list[float]:
    """Return how often a Gaussian's draw lies within k standard deviations of its mean.

    Args:
        within: The numbers k.

    Returns:
        A share in [0, 1] for each k: what `gaussian_coverage` is compared with.
    """
    return [math.erf(k / math.sqrt(2)) for k in within]
