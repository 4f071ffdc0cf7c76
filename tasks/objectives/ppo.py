"""Proximal policy optimisation: advantages, the two clipped losses, and what goes around them.

Here B is the number of responses. A mask marks the tokens of each, a prefix of its row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    raised,
    require_ndim,
    require_not_negative,
    require_positive,
    require_same_shape,
    zero_outside,
)

_STEEPEST = 20.0  # log-ratio from which on the ratio grows in a straight line: exp would overflow
_ADJUSTMENT = 0.2  # the most by which the adaptive controller believes one measurement


def token_rewards(
    scores: Tensor, logps: Tensor, reference_logps: Tensor, mask: Tensor, *, kl_coef: float
) -> Tensor:
    """Reward of each token: a share of the KL penalty, and the response's score at the last one.

    Args:
        scores: of each response, reward units. Shape (B,).
        logps: log pi(y_t|x, y_<t) under the policy that drew the tokens, nats. Shape (B, T).
        reference_logps: the same under the reference. Shape (B, T).
        mask: which tokens are real. Bool, shape (B, T).
        kl_coef: weight of the penalty, reward units per nat. Not negative.

    Returns:
        Reward units, 0 outside the mask. Shape (B, T).

    Raises:
        ValueError: if the shapes do not fit, the mask is no prefix, or kl_coef is negative.

    Source:
        Section 2.2, arXiv 2402.00856 (EXO); per token as in arXiv 1909.08593.

    Example:
        >>> logps, reference = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-2.0, -2.0]])
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> token_rewards(torch.tensor([3.0]), logps, reference, mask, kl_coef=0.5)
        tensor([[-0.5000,  3.0000]])
    """
    require_same_shape(logps=logps, reference_logps=reference_logps)
    require_not_negative(kl_coef=kl_coef)
    mask = _prefix(mask, logps)
    if scores.shape != logps.shape[:1]:
        raise ValueError(f"scores {tuple(scores.shape)} and logps {tuple(logps.shape)} differ in B")
    penalty = -kl_coef * zero_outside(raised(logps) - raised(reference_logps), mask)
    last = mask & ~torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    return penalty + zero_outside(raised(scores).unsqueeze(1).expand(logps.shape), last)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates, and the returns that the values should have foretold.

    Args:
        rewards: of each token, reward units. Shape (B, T).
        values: what the critic expects before each token. Shape (B, T).
        mask: which tokens are real, a prefix of each row: after its last token the response has
            ended, and its value is 0. Bool, shape (B, T).
        gamma: discount per token, in (0, 1].
        lam: between one step of bootstrapping (0) and none (1).

    Returns:
        Advantages, and advantages + values; both 0 outside the mask. Shapes (B, T).

    Raises:
        ValueError: if the shapes differ, the mask is no prefix, or a number is outside its range.

    Source:
        Eq. 16, arXiv 1506.02438 (GAE).

    Example:
        >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]])
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> generalized_advantages(rewards, values, mask, gamma=1.0, lam=1.0)
        (tensor([[0.5000, 0.5000]]), tensor([[1., 1.]]))
    """
    require_same_shape(rewards=rewards, values=values)
    if not (0 < gamma <= 1 and 0 <= lam <= 1):
        raise ValueError(f"gamma must lie in (0, 1] and lam in [0, 1], got {gamma} and {lam}")
    mask = _prefix(mask, values)
    values = zero_outside(raised(values), mask)
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    surprises = zero_outside(raised(rewards), mask) + gamma * after - values
    running = torch.zeros_like(surprises[:, 0]) if surprises.shape[1] else surprises
    found = []
    for surprise in reversed(surprises.unbind(dim=1)):
        running = surprise + gamma * lam * running
        found.append(running)
    advantages = torch.stack(found[::-1], dim=1) if found else surprises
    return advantages, advantages + values


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Bring values to variance 1, and to mean 0 unless the mean is to stay.

    Args:
        values: any. Shape (B, T).
        mask: which of them are real. Bool, shape (B, T).
        shift_mean: False leaves the mean as it was.

    Returns:
        0 outside the mask; values without any variance become their mean. Shape (B, T).

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> whiten(torch.tensor([[1.0, 5.0]]), mask).round(decimals=4)
        tensor([[-1.,  1.]])
    """
    mask = full_mask(mask, values)
    values = zero_outside(raised(values), mask)
    mean = masked_mean(values, mask)
    spread = (masked_mean((values - mean).square(), mask) + 1e-8).sqrt()
    return zero_outside((values - mean) / spread + (0 if shift_mean else mean), mask)


def ppo_policy_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float,
    counts: int | None = None,
) -> Tensor:
    """Clipped surrogate: raise the probability of what went better than expected, but not far.

    Args:
        logps: log pi(y_t|x, y_<t) under the policy in training, nats. Shape (B, T).
        old_logps: the same under the policy that drew the tokens. Shape (B, T).
        advantages: of the tokens, reward units. Shape (B, T).
        mask: which tokens are real. Bool, shape (B, T).
        clip: how far the ratio may leave 1 in the direction of the gain; infinity for no limit.
        counts: tokens of the whole optimiser step, so that the values of its micro-batches add up;
            None: this call is the whole step.

    Returns:
        Mean over the tokens, reward units. Shape ().

    Raises:
        ValueError: if the shapes differ, clip is not positive or counts are smaller than what is
            here.

    Note:
        Above a log-ratio of 20 the ratio goes on as a straight line, so that it stays finite.

    Source:
        Eq. 7, arXiv 1707.06347 (PPO).

    Example:
        >>> old, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
        >>> new = torch.tensor([[0.5, -0.5]])
        >>> loss = ppo_policy_loss(new, old, torch.ones(1, 2), mask, clip=0.2)
        >>> loss.round(decimals=4)  # -(1.2 + 0.6065) / 2
        tensor(-0.9033)
    """
    require_same_shape(logps=logps, old_logps=old_logps, advantages=advantages)
    mask = full_mask(mask, logps)
    _require_clip(clip)
    ratio = probability_ratio(logps, old_logps, mask)
    gains = zero_outside(raised(advantages), mask)
    losses = torch.maximum(-gains * ratio, -gains * ratio.clamp(1 - clip, 1 + clip))
    return zero_outside(losses, mask).sum() / _tokens(mask, counts)


def ppo_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float,
    counts: int | None = None,
) -> Tensor:
    """Half the squared error of the critic, or of the critic held near to what it said before.

    Args:
        values: what the critic in training expects before each token, reward units. Shape (B, T).
        old_values: what it expected when the tokens were drawn. Shape (B, T).
        returns: what came. Shape (B, T).
        mask: which tokens are real. Bool, shape (B, T).
        clip: how far a value may leave the old one, reward units; infinity for no limit.
        counts: tokens of the whole optimiser step, as for `ppo_policy_loss`.

    Returns:
        Half the mean over the tokens of the larger of the two squares. Shape ().

    Raises:
        ValueError: as `ppo_policy_loss`.

    Source:
        The code of arXiv 2005.12729 (section 3, value function clipping), as in TRL.

    Example:
        >>> one = torch.ones(1, 1, dtype=torch.bool)
        >>> values, old, returns = torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1)
        >>> ppo_value_loss(values, old, returns, one, clip=0.2)  # (0.2 - 1)² / 2
        tensor(0.3200)
    """
    require_same_shape(values=values, old_values=old_values, returns=returns)
    mask = full_mask(mask, values)
    _require_clip(clip)
    values, old, wanted = (zero_outside(raised(t), mask) for t in (values, old_values, returns))
    near = old + (values - old).clamp(-clip, clip)
    squares = torch.maximum((values - wanted).square(), (near - wanted).square())
    return squares.sum() / (2 * _tokens(mask, counts))


def probability_ratio(logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
    """Ratio of the policy's probability of each token to the old policy's.

    Args:
        logps: under the policy in training, nats. Shape (B, T).
        old_logps: under the policy that drew the tokens. Shape (B, T).
        mask: which tokens are real. Bool, shape (B, T).

    Returns:
        1 outside the mask; above e^20 it grows like the log-ratio. Shape (B, T).
    """
    log_ratio = zero_outside(raised(logps) - raised(old_logps), mask)
    bounded = log_ratio.clamp(max=_STEEPEST)
    return bounded.exp() * (1 + (log_ratio - bounded))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of what is inside the mask; 0 where nothing is. Shape ()."""
    return zero_outside(values, mask).sum() / mask.sum().clamp(min=1)


def next_kl_coef(
    kl_coef: float, kl: float, *, target: float, horizon: float, responses: int
) -> float:
    """Return the KL coefficient after a measurement: larger where the KL was above its target.

    Args:
        kl_coef: the coefficient so far, reward units per nat.
        kl: KL to the reference that was measured, nats per response.
        target: KL that is aimed at, nats. Positive.
        horizon: responses over which the coefficient can change by a factor of about 1.2.
        responses: how many were measured.

    Returns:
        The new coefficient; never negative for a horizon above 0.2 · responses.

    Raises:
        ValueError: if target or horizon are not positive.

    Source:
        Eq. after Eq. 4, arXiv 1909.08593.

    Example:
        >>> round(next_kl_coef(0.1, 12.0, target=6.0, horizon=100.0, responses=10), 4)
        0.102
    """
    require_positive(target=target, horizon=horizon)
    error = min(max(kl / target - 1, -_ADJUSTMENT), _ADJUSTMENT)
    return kl_coef * (1 + error * responses / horizon)


def _prefix(mask: Tensor, like: Tensor) -> Tensor:
    """Return the mask, checked: of the shape of `like`, and a prefix of each row."""
    require_ndim(2, values=like)
    mask = full_mask(mask, like)
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise ValueError("the mask of a response must be a prefix of its row, this one has gaps")
    return mask


def _tokens(mask: Tensor, counts: int | None) -> int:
    here = int(mask.sum())
    if counts is not None and counts < here:
        raise ValueError(f"the step's counts are {counts}, and this call alone has {here} tokens")
    return max(1, here if counts is None else counts)


def _require_clip(clip: float) -> None:
    if math.isnan(clip) or clip <= 0:
        raise ValueError(f"clip must be positive, got {clip}")
