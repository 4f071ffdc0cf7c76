"""Direct preference optimisation: the policy's own log-ratios are read as rewards."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tasks.objectives.exo import log_choices
from tasks.objectives.guards import raised, require_pairs, require_positive, require_same_shape


def dpo(
    policy_logps: Tensor, reference_logps: Tensor, *, beta: float, label_smoothing: float = 0.0
) -> Tensor:
    """Negative log-likelihood of the annotator's choice under the policy's implied rewards.

    Args:
        policy_logps: log pi(y|x) of the chosen and the rejected response, nats. Shape (B, 2).
        reference_logps: the same under the reference policy. Shape (B, 2).
        beta: how sharply the log-ratios are read as a choice. Positive.
        label_smoothing: chance that the annotator was wrong, in [0, 1/2].

    Returns:
        Loss per pair, nats, never negative. Shape (B,).

    Raises:
        ValueError: if the shapes differ or are not (B, 2), or a number is outside its range.

    Source:
        Eq. 7, arXiv 2402.00856 (EXO); label smoothing as in the code of arXiv 2305.18290's authors
        (cDPO).

    Example:
        >>> import torch
        >>> policy, reference = torch.tensor([[-1.0, -4.0]]), torch.tensor([[-2.0, -3.0]])
        >>> dpo(policy, reference, beta=1.0).round(decimals=4)  # -log sigmoid(1 - (-1))
        tensor([0.1269])
    """
    require_pairs(policy_logps=policy_logps, reference_logps=reference_logps)
    require_same_shape(policy_logps=policy_logps, reference_logps=reference_logps)
    require_positive(beta=beta)
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(f"label_smoothing must lie in [0, 0.5], got {label_smoothing}")
    log_ratios = raised(policy_logps) - raised(reference_logps)
    margin = beta * (log_ratios[:, 0] - log_ratios[:, 1])
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def dpo_rw(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta_pi: float,
    beta_r: float,
    mask: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the policy's choice among K responses under the rewards' choice.

    Arguments, their shapes and units are those of `exo_rw`.

    Returns:
        Loss per group, nats, never less than the entropy of the rewards' choice; 0 for an empty
        group. Shape (B,).

    Raises:
        ValueError: if the shapes differ or are not (B, K), the mask is not bool, or a coefficient
            is not positive.

    Source:
        Eq. 19, arXiv 2402.00856 (EXO).

    Example:
        >>> import torch
        >>> even, rewards = torch.zeros(1, 2), torch.tensor([[0.6, 0.4]]).log()
        >>> dpo_rw(even, even, rewards, beta_pi=1.0, beta_r=1.0).round(decimals=4)  # log 2
        tensor([0.6931])
    """
    log_policy, log_reward = log_choices(
        policy_logps, reference_logps, rewards, beta_pi=beta_pi, beta_r=beta_r, mask=mask
    )
    return -(log_reward.exp() * log_policy).sum(dim=-1)  # Eq. 19
