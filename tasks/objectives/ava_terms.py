"""What AVA's losses are made of, position by position: Q values, reward weights, two densities.

V is the size of the vocabulary and D the width of the attention that weighs the positions.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_choice,
    require_ndim,
    require_positive,
    require_same_shape,
    zero_outside,
)


class AvaTerms(NamedTuple):
    """What a model says at every position of one response per row; all of shape (B, T)."""

    q: Tensor
    """Weighted Q of the action, the token that comes next."""

    q_next: Tensor
    """Weighted Q of the action after that, from the position after; read at IRL positions only."""

    log_lik: Tensor
    """Log-likelihood of the action, nats, neither weighted nor multiplied by beta."""

    mean: Tensor
    """Weighted mean of the reward, reward units."""

    log_std: Tensor
    """Log of the weighted standard deviation of the reward."""

    action_mask: Tensor
    """Bool: where a token of the response, its end included, is chosen."""

    irl_mask: Tensor
    """Bool: where a further action follows the chosen one."""


def gaussian_kl(
    mean: Tensor, log_std: Tensor, *, prior_mean: float = 0.0, prior_std: float = 1.0
) -> Tensor:
    """KL divergence of a reward's Gaussian from the prior over rewards.

    Args:
        mean: Mean of the reward, reward units. Any shape.
        log_std: Log of its standard deviation. The same shape.
        prior_mean: Mean of the prior, reward units.
        prior_std: Standard deviation of the prior. Positive.

    Returns:
        KL[N(mean, std²) ‖ N(prior_mean, prior_std²)], nats, never negative. The same shape.

    Raises:
        ValueError: if the shapes differ or prior_std is not positive.

    Source:
        Eq. 6, arXiv 2411.09341 (AVA), whose prior is the standard Gaussian.

    Example:
        >>> gaussian_kl(torch.tensor([0.0, 0.7]), torch.tensor([1.0, 0.4]).log())
        tensor([0.0000, 0.7413])
    """
    require_same_shape(mean=mean, log_std=log_std)
    require_positive(prior_std=prior_std)
    log_ratio = raised(log_std) - math.log(prior_std)
    shift = (raised(mean) - prior_mean) / prior_std
    return 0.5 * ((2 * log_ratio).exp() + shift.square() - 1) - log_ratio


def td_log_density(td: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """How well a reward's Gaussian explains a temporal-difference error.

    Args:
        td: The error δ = Q(s, a) - γ Q(s', a'), reward units. Any shape.
        mean: Mean of the reward, reward units. The same shape.
        log_std: Log of its standard deviation. The same shape.

    Returns:
        log N(td; mean, std²), nats; unbounded above as std goes to 0. The same shape.

    Raises:
        ValueError: if the shapes differ.

    Source:
        Eq. 5 and 13, arXiv 2411.09341 (AVA).

    Example:
        >>> td_log_density(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.0]))
        tensor([-1.4189])
    """
    require_same_shape(td=td, mean=mean, log_std=log_std)
    log_std = raised(log_std)
    residual = (raised(td) - raised(mean)) * (-log_std).exp()
    return -0.5 * residual.square() - log_std - 0.5 * math.log(2 * math.pi)


def q_values(
    logits: Tensor, *, alpha: float = 1.0, q_map: Literal["logit", "prob", "raw"] = "logit"
) -> Tensor:
    """Read the logits of a language model, or of a Q head of its own, as Q values.

    Args:
        logits: Scores of the next token. Shape (B, T, V).
        alpha: Inverse temperature, positive. Without influence on `raw`.
        q_map: `logit`: log_softmax(alpha logits), with alpha = 1 the policy's log-probabilities;
            `prob`: log_softmax(alpha softmax(logits)), whose values lie within alpha of each
            other; `raw`: the logits as they are, for a Q head of its own.

    Returns:
        Q of each next token; nats but for `raw`. Shape (B, T, V).

    Raises:
        ValueError: if the logits are not (B, T, V), alpha is not positive or q_map is unknown.

    Source:
        Eq. 8 and 12, arXiv 2411.09341 (AVA).

    Note:
        Eq. 12 prints `prob`. `logit` is the default because the paper calls the first term of its
        objective identical to supervised fine-tuning, which holds for `logit` alone.

    Example:
        >>> logits = torch.tensor([[[0.0, 1.0]]])
        >>> q_values(logits), q_values(logits, q_map="prob")
        (tensor([[[-1.3133, -0.3133]]]), tensor([[[-0.9507, -0.4885]]]))
    """
    require_ndim(3, logits=logits)
    require_positive(alpha=alpha)
    require_choice(("logit", "prob", "raw"), q_map=q_map)
    logits = raised(logits)
    if q_map == "raw":
        return logits
    scores = logits if q_map == "logit" else logits.softmax(dim=-1)
    return (alpha * scores).log_softmax(dim=-1)  # Eq. 12


def reward_weights(
    queries: Tensor,
    keys: Tensor,
    mask: Tensor,
    *,
    scale: Literal["mean1", "sum1"] = "mean1",
) -> Tensor:
    """Weigh the positions of a response by how much all of its positions attend to each.

    Args:
        queries: Query of each position. Shape (B, T, D).
        keys: Key of each position. Shape (B, T, D).
        mask: The response's positions; attention looks both ways among them. Bool, shape (B, T).
        scale: `sum1`: the weights of a response sum to 1, as printed; `mean1`: their mean is 1, so
            that equal keys weigh like no weights at all, whatever the length.

    Returns:
        Weights, never negative, 0 outside the mask. Shape (B, T).

    Raises:
        ValueError: if the shapes do not fit, the mask is not bool or scale is unknown.

    Source:
        Eq. 11, arXiv 2411.09341 (AVA); Preference Transformer, arXiv 2303.00957.

    Note:
        Queries and keys are divided by √D before the softmax, which Eq. 11 does not print: the same
        functions can be learnt, and a wide model does not begin with a saturated softmax.

    Example:
        The middle position's key fits both queries best.

        >>> queries, keys = torch.ones(1, 3, 1), torch.tensor([[[0.0], [1.0], [7.0]]])
        >>> reward_weights(queries, keys, torch.tensor([[True, True, False]]))
        tensor([[0.5379, 1.4621, 0.0000]])
    """
    require_same_shape(queries=queries, keys=keys)
    require_ndim(3, queries=queries)
    require_choice(("mean1", "sum1"), scale=scale)
    mask = full_mask(mask, queries[..., 0])
    queries, keys = (zero_outside(raised(part), mask.unsqueeze(-1)) for part in (queries, keys))

    affinity = queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1])  # (B, T, T)
    # A response without a position would be all -inf, whose softmax is nan; zeros do no harm there.
    kept = mask | ~mask.any(dim=-1, keepdim=True)
    attention = torch.where(kept.unsqueeze(1), affinity, float("-inf")).softmax(dim=-1)
    received = zero_outside(attention, (mask.unsqueeze(2) & mask.unsqueeze(1))).sum(dim=1)
    if scale == "mean1":
        return received
    return received / mask.sum(dim=-1, keepdim=True).clamp(min=1)  # Eq. 11
