"""What a TQR has beside its language model: a reward head, reward weights, perhaps a Q head.

B groups of K responses; S response tokens in all, T of the longest response.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tasks.models.randomness import seeded
from tasks.models.tqr.config import TqrConfig
from tasks.objectives.ava import reward_weights

_INITIAL = 0.02  # of a new Q head
_LOWEST, _HIGHEST = -3.0, 3.0  # of ln σ


class Rewards(NamedTuple):
    """Each position's weighted reward distribution; 0 where there is no position. (B, K, T)."""

    mean: Tensor
    """Its mean, reward units."""
    log_std: Tensor
    """Log of its standard deviation."""
    weights: Tensor
    """The weight that is in both, in units of the config's scale; 1 without reward weights."""


class TqrHeads(nn.Module):
    """The new weights of a TQR; at first every reward is a standard Gaussian.

    Everything is computed in their own type, at least float32, whatever autocast says.
    """

    def __init__(self, config: TqrConfig, width: int, vocabulary: int, seed: int = 0) -> None:
        """Make fresh heads.

        Args:
            config: Which of them there are.
            width: Numbers of a hidden state.
            vocabulary: Entries of a Q head of its own.
            seed: Of the new matrices.
        """
        super().__init__()
        self.config = config
        with seeded("tqr", seed):
            self.reward = nn.Linear(width, 2)
            nn.init.zeros_(self.reward.weight)
            nn.init.zeros_(self.reward.bias)
            if config.std_map == "softplus":
                # Where softplus is 1.
                nn.init.constant_(self.reward.bias[1], math.log(math.expm1(1)))
            if config.rwt:
                size = min(config.rwt_width, width)
                # A key's bias would add the same to all that a query is compared with.
                self.queries = nn.Linear(width, size)
                self.keys = nn.Linear(width, size, bias=False)
                for matrix in (self.queries.weight, self.keys.weight):
                    # A pretrained model's states are large, and all are to weigh the same at first.
                    nn.init.normal_(matrix, std=_INITIAL * width**-0.5)
                nn.init.zeros_(self.queries.bias)
            if not config.ptq:
                self.q_head = nn.Linear(width, vocabulary, bias=False)
                nn.init.normal_(self.q_head.weight, std=_INITIAL)

    def forward(self, states: Tensor, mask: Tensor) -> Rewards:
        """Return how the reward of each position is distributed, weighted.

        Args:
            states: Hidden states of the positions, response after response. Shape (S, H).
            mask: Where the response in slot k of group b has a position t. Bool, (B, K, T).
        """
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(self.reward.weight.dtype)
            mean, spread = self.reward(states).unbind(dim=-1)
            log_std = spread
            if self.config.std_map == "softplus":
                log_std = nn.functional.softplus(spread).log()
            weights = self._weights(states, mask)
            log_weights = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
            log_std = torch.maximum(
                spread_out(log_std, mask) + log_weights, self._lowest(mask, mean.dtype)
            )
            log_std = log_std.clamp(max=_HIGHEST).masked_fill(~mask, 0)
            return Rewards(spread_out(mean, mask) * weights, log_std, weights)

    @torch.no_grad()
    def drawn_anew(self) -> TqrHeads:
        """Return heads of the same kind whose rewards and weights tell states apart; no Q head."""
        config = self.config.model_copy(update={"ptq": True})
        width = self.reward.in_features
        heads = TqrHeads(config, width, 0).to(self.reward.weight)
        generator = torch.Generator().manual_seed(0)
        for matrix in (part for part in heads.parameters() if part.ndim == 2):
            drawn = torch.randn(matrix.shape, generator=generator) * width**-0.5
            matrix.copy_(drawn)
        return heads

    def _weights(self, states: Tensor, mask: Tensor) -> Tensor:
        if not self.config.rwt:
            return mask.to(states.dtype)
        rows = mask.flatten(0, 1)
        weights = reward_weights(
            spread_out(self.queries(states), rows),
            spread_out(self.keys(states), rows),
            rows,
            scale=self.config.rwt_scale,
        ).view(mask.shape)
        return weights.detach() if self.config.detach_rwt else weights

    def _lowest(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """The floor of ln σ after weighting: a floor before it would be void for small weights."""
        sizes = mask.sum(dim=-1, keepdim=True).clamp(min=1).to(dtype)
        if self.config.rwt and self.config.rwt_scale == "sum1":
            return _LOWEST - sizes.log()
        return torch.full_like(sizes, _LOWEST)


def spread_out(values: Tensor, mask: Tensor) -> Tensor:
    """Put what lies response after response, shape (S, …), where the mask is true; else 0."""
    out = values.new_zeros(*mask.shape, *values.shape[1:])
    return out.index_put((mask,), values)
