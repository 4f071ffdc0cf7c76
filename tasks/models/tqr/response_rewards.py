"""What a whole response scores, from the rewards of its tokens."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tasks.models.tqr.config import TqrConfig

ReturnScale = Literal["mean", "sum"]
"""Whether a return is the mean of a response's rewards, or their sum (Eq. 19)."""


class ResponseRewards(NamedTuple):
    """Both readings of each response's score, reward units; 0 in empty slots. Shapes (B, K)."""

    last: Tensor
    """The weighted mean reward where the response's end is chosen."""
    whole: Tensor
    """The return: the mean or the sum of all weighted mean rewards."""


def response_rewards(
    mean: Tensor, mask: Tensor, config: TqrConfig, return_scale: ReturnScale = "mean"
) -> ResponseRewards:
    """Score responses by their last action and by their return.

    Args:
        mean: Weighted mean reward of each position, 0 where there is none. Shape (B, K, T).
        mask: Where there are positions. Bool, shape (B, K, T).
        config: Says whether the weights of a response already sum to 1.
        return_scale: `mean`: weights that sum to 1; `sum`: weights whose mean is 1.

    Example:
        >>> mean = torch.tensor([[[1.0, 3.0, 0.0], [2.0, 0.0, 0.0]]])
        >>> mask = torch.tensor([[[True, True, False], [True, False, False]]])
        >>> [part.tolist() for part in response_rewards(mean, mask, TqrConfig())]
        [[[3.0, 2.0]], [[2.0, 2.0]]]
    """
    sizes = mask.sum(dim=-1).clamp(min=1)
    last = mean.gather(-1, (sizes - 1).unsqueeze(-1)).squeeze(-1)
    total = mean.sum(dim=-1)
    sums_to_one = config.rwt and config.rwt_scale == "sum1"
    if sums_to_one and return_scale == "sum":
        total = total * sizes
    elif not sums_to_one and return_scale == "mean":
        total = total / sizes
    return ResponseRewards(last, torch.where(mask.any(dim=-1), total, total.new_zeros(())))
