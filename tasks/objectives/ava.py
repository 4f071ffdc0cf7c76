"""AVA: the policy's own Q values and a distribution over each token's reward, learnt together.

A response has m *action positions*: position t has seen everything up to token t, and its action is
token t + 1. The last of them chooses the end of the sequence. The *IRL positions* are those that a
further action follows, all but the last: there the temporal-difference error δ = q - γ q_next
exists. `reward_weights`, where they are used, have already been multiplied into `q`, `q_next`,
`mean` and (as a logarithm) into `log_std`; not into `log_lik`.

Nothing here clamps: with λ > c_KL the losses are unbounded below, at std → 0 and mean = δ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tasks.objectives.ava_terms import (
    AvaTerms,
    gaussian_kl,
    q_values,
    reward_weights,
    td_log_density,
)
from tasks.objectives.guards import (
    full_mask,
    raised,
    require_at_least,
    require_choice,
    require_ndim,
    require_not_negative,
    require_same_shape,
    require_share,
    zero_outside,
)

__all__ = [
    "AvaTerms",
    "ava_d",
    "ava_p",
    "cer",
    "gaussian_kl",
    "q_values",
    "reward_weights",
    "td_log_density",
]


def ava_d(
    q: Tensor,
    q_next: Tensor,
    log_lik: Tensor,
    mean: Tensor,
    log_std: Tensor,
    action_mask: Tensor,
    irl_mask: Tensor,
    *,
    gamma: float,
    lam: float,
    beta: float = 1.0,
    c_kl: float = 1.0,
    counts: Mapping[str, float] | None = None,
) -> Tensor:
    """Learn policy and rewards from demonstrations: AVA-d.

    L = - mean_A beta log_lik + mean_I (c_kl KL[N(mean, std²) ‖ N(0, 1)] - lam log N(δ; mean, std²))

    Args:
        q: As in `AvaTerms`, and so are the arguments up to `irl_mask`. Shape (B, T).
        q_next: Weighted Q of the action after. Shape (B, T).
        log_lik: Log-likelihood of the action, nats. Shape (B, T).
        mean: Weighted mean of the reward. Shape (B, T).
        log_std: Log of its weighted standard deviation. Shape (B, T).
        action_mask: The set A, action positions. Bool, shape (B, T).
        irl_mask: The set I, IRL positions. Bool, shape (B, T).
        gamma: Discount of the next Q, in [0, 1].
        lam: Weight λ of the temporal-difference term, not negative.
        beta: Weight of the likelihood, not negative. For a Q head of its own, whose beta is a
            temperature, pass log_softmax(beta Q) as `log_lik` and leave it at 1.
        c_kl: Weight of the divergence from the prior, not negative.
        counts: `{"actions": …, "irl": …}`, the positions of the optimiser step this call is a part
            of, so that its micro-batches add up to the step's loss. None: this is all of it.

    Returns:
        The loss, nats. Shape (). An empty set of positions contributes 0.

    Raises:
        ValueError: if shapes differ or are not (B, T), a mask is not bool, a number is out of
            range, or counts have other names or are smaller than what is here.

    Source:
        Eq. 13 and 14, arXiv 2411.09341 (AVA), as a mean over positions.

    Example:
        Two actions of log-likelihood -1; at the first the error is 1 and the reward N(0, 1), whose
        divergence is 0: 1 + 0.5 (1/2 + log(2π)/2).

        >>> zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
        >>> actions, irl = torch.tensor([[True, True]]), torch.tensor([[True, False]])
        >>> ava_d(ones, zeros, -ones, zeros, zeros, actions, irl, gamma=0.99, lam=0.5)
        tensor(1.7095)
    """
    require_share(gamma=gamma)
    require_not_negative(lam=lam, beta=beta, c_kl=c_kl)
    terms = _checked(AvaTerms(q, q_next, log_lik, mean, log_std, action_mask, irl_mask))
    actions, irl = _denominators(terms, counts)
    likelihood = _mean(beta * terms.log_lik, terms.action_mask, actions)
    return _irl(terms, gamma, lam, c_kl, irl) - likelihood  # Eq. 13


def ava_p(
    chosen: AvaTerms,
    rejected: AvaTerms,
    *,
    gamma: float,
    lam: float,
    beta: float = 1.0,
    c_kl: float = 1.0,
    b_neg: float = 1.0,
    irl_on: Literal["both", "chosen"] = "both",
    neg_guard: Literal["floor", "none", "unlikelihood"] = "floor",
    vocab_size: int,
    counts: Mapping[str, Mapping[str, float]] | None = None,
) -> Tensor:
    """Learn policy and rewards from preferences: AVA-p, without its contrast `cer` of the scores.

    L = - mean_A⁺ l⁺ + b_neg mean_A⁻ g(l⁻) + the IRL terms of `ava_d` of both; l = beta log_lik.
    The means of the two sides are apart, so that the longer side has no extra weight.

    Args:
        chosen: Terms of the preferred responses.
        rejected: Terms of the others; their number and length may differ.
        gamma: Discount of the next Q, in [0, 1].
        lam: Weight λ of the temporal-difference term, not negative.
        beta: Weight of the likelihood, not negative; as in `ava_d`.
        c_kl: Weight of the divergence from the prior, not negative.
        b_neg: Weight of the rejected likelihood, not negative. 0 in the ablation `neg`.
        irl_on: Which responses have the IRL terms; `chosen` in that ablation.
        neg_guard: g. `none`: as printed, unbounded below. `floor`: max(l, - beta log vocab_size),
            no further push on a token less likely than one drawn at random; `unlikelihood`:
            - beta log(1 - p) of each token, p = exp(log_lik), Eq. 16's form, token by token.
        vocab_size: Number of tokens, the floor's V. At least 2.
        counts: `{"chosen": {"actions": …, "irl": …}, "rejected": …}`, as in `ava_d`.

    Returns:
        The loss, nats. Shape (). An empty set of positions contributes 0.

    Raises:
        ValueError: as `ava_d`, and if a name is unknown or vocab_size is below 2.

    Source:
        Eq. 17, arXiv 2411.09341 (AVA), as means over positions.

    Example:
        A response against itself leaves two divergences of (1² + 1 - 1) / 2:

        >>> zeros, ones, real = torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([[True]])
        >>> terms = AvaTerms(ones, zeros, -ones, ones, zeros, real, real)
        >>> ava_p(terms, terms, gamma=0.99, lam=0.0, vocab_size=50257)
        tensor(1.)
    """
    require_not_negative(lam=lam, beta=beta, c_kl=c_kl, b_neg=b_neg)
    require_choice(("both", "chosen"), irl_on=irl_on)
    require_choice(("floor", "none", "unlikelihood"), neg_guard=neg_guard)
    require_at_least(2, vocab_size=vocab_size)
    if counts is not None and counts.keys() != {"chosen", "rejected"}:
        raise ValueError(f"counts must have chosen and rejected, got {', '.join(counts)}")
    positive, negative = (counts["chosen"], counts["rejected"]) if counts else (None, None)
    rejected = _checked(rejected)
    actions, irl = _denominators(rejected, negative)

    log_lik = rejected.log_lik
    if neg_guard == "floor":
        log_lik = log_lik.clamp(min=-math.log(vocab_size))
    elif neg_guard == "unlikelihood":
        # p is kept below 1 by what the dtype can tell from 1.
        log_lik = -(-log_lik.clamp(max=-torch.finfo(log_lik.dtype).eps).expm1()).log()
    loss = b_neg * _mean(beta * log_lik, rejected.action_mask, actions)
    if irl_on == "both":
        loss = loss + _irl(rejected, gamma, lam, c_kl, irl)
    # Eq. 17
    return loss + ava_d(*chosen, gamma=gamma, lam=lam, beta=beta, c_kl=c_kl, counts=positive)


def cer(
    chosen_last: Tensor, rejected_last: Tensor, *, link: Literal["sigmoid", "log"] = "sigmoid"
) -> Tensor:
    """Contrast the expected rewards of two whole responses: what trains AVA-p's score.

    Args:
        chosen_last: Weighted mean of the reward at the last action position of the preferred
            response, reward units. Shape (B,).
        rejected_last: The same of the other response. Shape (B,).
        link: `sigmoid`: - sigmoid(gap), as printed, bounded; `log`: - log sigmoid(gap), which is
            Bradley–Terry.

    Returns:
        Loss per pair, the negative of the printed objective; in (-1, 0), or nats. Shape (B,).

    Raises:
        ValueError: if the shapes differ or link is unknown.

    Source:
        Eq. 18, arXiv 2411.09341 (AVA).

    Example:
        >>> cer(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0]))
        tensor([-0.5000, -0.8808])
    """
    require_same_shape(chosen_last=chosen_last, rejected_last=rejected_last)
    require_choice(("sigmoid", "log"), link=link)
    gap = raised(chosen_last) - raised(rejected_last)
    return -gap.sigmoid() if link == "sigmoid" else -logsigmoid(gap)


def _checked(terms: AvaTerms) -> AvaTerms:
    """The terms, at least in float32, and 0 wherever their mask makes them count for nothing."""
    require_same_shape(**dict(zip(terms._fields[:5], terms[:5], strict=True)))
    require_ndim(2, q=terms.q)
    actions, irl = (full_mask(mask, terms.q) for mask in (terms.action_mask, terms.irl_mask))
    q, q_next, mean, log_std = (
        zero_outside(raised(part), irl)
        for part in (terms.q, terms.q_next, terms.mean, terms.log_std)
    )
    log_lik = zero_outside(raised(terms.log_lik), actions)
    return AvaTerms(q, q_next, log_lik, mean, log_std, actions, irl)


def _irl(terms: AvaTerms, gamma: float, lam: float, c_kl: float, count: float) -> Tensor:
    """The mean over IRL positions of what keeps rewards near the prior and near the errors."""
    td = terms.q - gamma * terms.q_next  # Eq. 14
    divergence = gaussian_kl(terms.mean, terms.log_std)
    fit = td_log_density(td, terms.mean, terms.log_std)
    return _mean(c_kl * divergence - lam * fit, terms.irl_mask, count)


def _mean(values: Tensor, mask: Tensor, count: float) -> Tensor:
    """The sum over the mask by `count`; by at least 1, because the sum over an empty set is 0."""
    return zero_outside(values, mask).sum() / max(count, 1)


def _denominators(terms: AvaTerms, counts: Mapping[str, float] | None) -> tuple[float, float]:
    """The step's numbers of action and of IRL positions, or those that are here."""
    here = {"actions": int(terms.action_mask.sum()), "irl": int(terms.irl_mask.sum())}
    step: Mapping[str, float] = here if counts is None else counts
    if step.keys() != here.keys():
        raise ValueError(f"counts must have actions and irl, got {', '.join(step)}")
    if any(step[name] < here[name] for name in here):
        raise ValueError(f"the step's counts {step} are smaller than this call alone: {here}")
    return step["actions"], step["irl"]
