"""What whole responses score, from the rewards of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tasks.objectives.response_scores import last_score, return_score

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.models.tqr.group_tqr import TqrOutput


class ResponseRewards(NamedTuple):
    """Both readings of each response's score, reward units; 0 in empty slots. Shapes (B, K)."""

    last: Tensor
    """The weighted reward where the response's end is chosen."""
    whole: Tensor
    """The return, of the rewards of all tokens."""


def response_rewards(
    output: TqrOutput, *, return_scale: Literal["mean", "sum"] = "mean"
) -> ResponseRewards:
    """Score responses by their last action and by their return, from one pass.

    Args:
        output: Of a TQR, for groups whose responses all have an end.
        return_scale: As `return_score` takes it.
    """
    rewards, mask = output.rewards, output.mask
    whole = return_score(rewards.mean, rewards.weights, mask, return_scale=return_scale)
    return ResponseRewards(last_score(rewards.mean, mask), whole)


def mean_log_likelihood(output: TqrOutput) -> Tensor:
    """Return each response's mean log-likelihood of a token: a score that knows no reward.

    With `logit` and ptq it is the policy's mean log-probability, its end included.

    Args:
        output: Of a TQR, for groups whose responses all have an end.

    Returns:
        Nats per token; 0 in empty slots. Shape (B, K).
    """
    mask, log_lik = output.mask, output.terms.log_lik
    return log_lik.masked_fill(~mask, 0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)
