"""Efficient exact optimisation: the policy's choice among K responses meets the reward's choice.

Both are distributions over the K responses of a group: p_f, which the policy's log-ratios make, and
p_r, which the rewards make. EXO minimises KL(p_f || p_r), which is mode-seeking; `dpo_rw` of the
neighbouring file minimises KL(p_r || p_f). What EXO does so for large K is stated here as well,
over a set of responses that can be listed: the generalised alignment objective and its optimum.
"""

from __future__ import annotations

from torch import Tensor

from tasks.objectives.guards import (
    full_mask,
    log_shares,
    raised,
    require_ndim,
    require_pairs,
    require_positive,
    require_same_shape,
)


def exo_pref(
    policy_logps: Tensor, reference_logps: Tensor, *, beta_pi: float, epsilon: float = 1e-3
) -> Tensor:
    """Reverse KL from the policy's choice between two responses to the annotator's.

    Args:
        policy_logps: log pi(y|x) of the chosen and the rejected response, nats. Shape (B, 2).
        reference_logps: the same under the reference policy. Shape (B, 2).
        beta_pi: how sharply the log-ratios are read as a choice. Positive.
        epsilon: chance that the annotator was wrong, in (0, 1/2).

    Returns:
        Loss per pair, nats, never negative. Shape (B,).

    Raises:
        ValueError: if the shapes differ or are not (B, 2), or a number is outside its range.

    Source:
        Eq. 18, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> even = torch.zeros(1, 2)  # 0.5 log(0.5 / 0.6) + 0.5 log(0.5 / 0.4)
        >>> exo_pref(even, even, beta_pi=1.0, epsilon=0.4).round(decimals=4)
        tensor([0.0204])
    """
    require_pairs(policy_logps=policy_logps, reference_logps=reference_logps)
    require_same_shape(policy_logps=policy_logps, reference_logps=reference_logps)
    require_positive(beta_pi=beta_pi)
    if not 0 < epsilon < 0.5:
        raise ValueError(f"epsilon must lie in (0, 0.5), got {epsilon}")
    log_ratios = raised(policy_logps) - raised(reference_logps)
    log_choice = (beta_pi * log_ratios).log_softmax(dim=-1)  # Eq. 13
    log_annotator = log_choice.new_tensor([1 - epsilon, epsilon]).log()
    return (log_choice.exp() * (log_choice - log_annotator)).sum(dim=-1)  # Eq. 18


def exo_rw(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta_pi: float,
    beta_r: float,
    mask: Tensor | None = None,
) -> Tensor:
    """Reverse KL from the policy's choice among K responses to the rewards' choice.

    Args:
        policy_logps: log pi(y|x) of each response, nats. Shape (B, K).
        reference_logps: the same under the reference policy, which drew the responses. Shape
            (B, K).
        rewards: reward of each response, reward units. Shape (B, K).
        beta_pi: how sharply the log-ratios are read as a choice. Positive.
        beta_r: reward units per nat: how softly the rewards choose. Positive.
        mask: which slots hold a response. Bool, shape (B, K); None: all of them.

    Returns:
        Loss per group, nats, never negative; 0 for an empty group. Shape (B,).

    Raises:
        ValueError: if the shapes differ or are not (B, K), the mask is not bool, or a coefficient
            is not positive.

    Source:
        Eq. 15 and 25, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> even, rewards = torch.zeros(1, 2), torch.tensor([[0.6, 0.4]]).log()
        >>> exo_rw(even, even, rewards, beta_pi=1.0, beta_r=1.0).round(decimals=4)
        tensor([0.0204])
    """
    log_policy, log_reward = log_choices(
        policy_logps, reference_logps, rewards, beta_pi=beta_pi, beta_r=beta_r, mask=mask
    )
    # Outside the mask both logarithms are 0, so that the difference is as well.
    return (log_policy.exp() * (log_policy - log_reward)).sum(dim=-1)  # Eq. 15


def log_choices(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta_pi: float,
    beta_r: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The policy's choice among the responses of each group and the rewards' choice.

    Arguments, their shapes and units are those of `exo_rw`.

    Returns:
        log p_f and log p_r, nats, 0 outside the mask. Each of shape (B, K).

    Raises:
        ValueError: as `exo_rw`.

    Source:
        Eq. 13 and 14, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> even, rewards = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
        >>> _, log_reward = log_choices(even, even, rewards, beta_pi=1.0, beta_r=1.0)
        >>> log_reward.exp().round(decimals=4)
        tensor([[0.2689, 0.7311]])
    """
    require_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards)
    require_ndim(2, policy_logps=policy_logps)
    require_positive(beta_pi=beta_pi, beta_r=beta_r)
    mask = full_mask(mask, policy_logps)
    log_ratios = raised(policy_logps) - raised(reference_logps)
    return log_shares(beta_pi * log_ratios, mask), log_shares(raised(rewards) / beta_r, mask)


def alignment_objective(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta_pi: float,
    beta_r: float,
) -> Tensor:
    """The generalised alignment objective, exactly, over responses that can all be listed.

    J = E[r] - beta_r KL(blend || reference), the mean being over the blend of policy and reference.
    With beta_pi = 1 it is the ordinary objective. Its gradient is -beta_r times that of
    KL(blend || optimum of beta_r), which EXO's gradient approaches as K grows (Theorem 3.2).

    Args:
        policy_logps: log pi(y|x) of every response there is, nats. Shape (B, N).
        reference_logps: the same under the reference policy. Shape (B, N).
        rewards: reward of each, reward units. Shape (B, N).
        beta_pi: weight of the policy in the blend. Positive.
        beta_r: reward units per nat of divergence. Positive.

    Returns:
        The objective, to be maximised, reward units. Shape (B,).

    Raises:
        ValueError: if the shapes differ or a coefficient is not positive.

    Source:
        Eq. 8, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> even, rewards = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.0, 1.0]])
        >>> alignment_objective(even, even, rewards, beta_pi=1.0, beta_r=1.0)
        tensor([0.5000])
    """
    require_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards)
    require_positive(beta_r=beta_r)
    blend = blended_logps(policy_logps, reference_logps, beta_pi=beta_pi)
    gain = raised(rewards) - beta_r * (blend - raised(reference_logps))
    return (blend.exp() * gain).sum(dim=-1)  # Eq. 8


def blended_logps(policy_logps: Tensor, reference_logps: Tensor, *, beta_pi: float) -> Tensor:
    """The product of experts of policy and reference that EXO and DPO match with the optimum.

    Args:
        policy_logps: log pi(y|x) of every response there is, nats. Shape (B, N).
        reference_logps: the same under the reference policy. Shape (B, N).
        beta_pi: weight of the policy; the reference has the rest. Positive.

    Returns:
        Log-probabilities of the blend, nats. Shape (B, N).

    Raises:
        ValueError: if the shapes differ or beta_pi is not positive.

    Source:
        Eq. 9, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> policy, reference = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log()
        >>> blended_logps(policy, reference, beta_pi=0.5).exp()
        tensor([[0.5000, 0.5000]])
    """
    require_same_shape(policy_logps=policy_logps, reference_logps=reference_logps)
    require_positive(beta_pi=beta_pi)
    reference = raised(reference_logps)
    return (reference + beta_pi * (raised(policy_logps) - reference)).log_softmax(dim=-1)


def optimal_logps(reference_logps: Tensor, rewards: Tensor, *, beta: float) -> Tensor:
    """The policy that maximises reward under a KL penalty, over responses that can all be listed.

    It is also where EXO and DPO with rewards end, with beta = beta_pi beta_r (Theorem 3.1).

    Args:
        reference_logps: log pi(y|x) of every response there is, nats. Shape (B, N).
        rewards: reward of each, reward units. Shape (B, N).
        beta: reward units per nat of divergence from the reference. Positive.

    Returns:
        Log-probabilities of the optimum, nats. Shape (B, N).

    Raises:
        ValueError: if the shapes differ or beta is not positive.

    Source:
        Eq. 5, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> reference, rewards = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[1.0, 4.0]]).log()
        >>> optimal_logps(reference, rewards, beta=1.0).exp()
        tensor([[0.5000, 0.5000]])
    """
    require_same_shape(reference_logps=reference_logps, rewards=rewards)
    require_positive(beta=beta)
    return (raised(reference_logps) + raised(rewards) / beta).log_softmax(dim=-1)
