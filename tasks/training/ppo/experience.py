"""What is known of a policy's own responses, token by token, and who gets the credit.

Responses stand behind each other without padding, R of them with S tokens in all: a forward pass
reads them so, and the losses do not care. Only the sums over time need rows, (R, T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.models.groups.group_model import Batch
from tasks.objectives.ppo import generalized_advantages, token_rewards, whiten
from tasks.training.distributed import ranks
from tasks.training.ppo.config import PpoConfig


@dataclass
class Experience:
    """The responses of one forward pass and what was noted of them when they were drawn."""

    of_actor: Batch
    """Their tokens in the actor's layout."""
    of_critic: Batch
    """The same in the critic's."""
    lengths: Tensor
    """Tokens of each response. Shape (R,), int64."""
    scores: Tensor
    """What each response scored, without what a missing end costs, reward units. Shape (R,)."""
    ended: Tensor
    """Which responses the policy ended itself. Shape (R,), bool."""
    logps: Tensor
    """Log-probability of each token under the policy that drew it, nats. Shape (S,)."""
    reference_logps: Tensor
    """The same under the reference. Shape (S,)."""
    values: Tensor
    """What the critic expected before each token, reward units. Shape (S,)."""
    advantages: Tensor
    """How much better it went. Shape (S,); empty until credit was assigned."""
    returns: Tensor
    """What the critic should have expected. Shape (S,); empty until credit was assigned."""
    counts: bool = True
    """False: another rank has these responses; they only keep the number of passes equal."""

    @property
    def tokens(self) -> int:
        """Response tokens (S)."""
        return len(self.logps)


def in_rows(flat: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Put what stands behind each other into rows of its own.

    Args:
        flat: One value per token. Shape (S,).
        lengths: Tokens of each response; they sum to S. Shape (R,).

    Returns:
        The values, 0 where a row has ended, and which are real. Shapes (R, T).

    Example:
        >>> in_rows(torch.tensor([1, 2, 3]), torch.tensor([1, 2]))[0]
        tensor([[1, 0],
                [2, 3]])
    """
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    return flat.new_zeros(mask.shape).masked_scatter(mask, flat), mask


def assign_credit(
    experiences: Sequence[Experience], config: PpoConfig, kl_coef: float
) -> dict[str, float]:
    """Fill in advantages and returns of all responses of a step.

    Args:
        experiences: All of this rank's of the step; changed in place.
        config: Penalties, discount, whitening.
        kl_coef: Weight of the KL now, reward units per nat.

    Returns:
        What was aimed at, under the names that the field has for it (TRL's). `non_score_reward` is
        the KL penalty with what missing ends cost.
    """
    for e in experiences:
        e.advantages = e.returns = torch.zeros_like(e.logps)
    experiences = [e for e in experiences if e.counts]
    rewards = []
    for e in experiences:
        logps, mask = in_rows(e.logps, e.lengths)
        scores = e.scores - config.missing_eos_penalty * ~e.ended
        reference = in_rows(e.reference_logps, e.lengths)[0]
        rewards.append(token_rewards(scores, logps, reference, mask, kl_coef=kl_coef)[mask])
    metrics = _objective(experiences, rewards)
    if config.whiten_rewards:
        rewards = _whitened(rewards, shift_mean=False)
    for e, reward in zip(experiences, rewards, strict=True):
        values, mask = in_rows(e.values, e.lengths)
        reward = in_rows(reward, e.lengths)[0]
        found = generalized_advantages(reward, values, mask, gamma=config.gamma, lam=config.lam)
        e.advantages, e.returns = (part[mask] for part in found)
    if config.whiten_advantages:
        whitened = _whitened([e.advantages for e in experiences], shift_mean=True)
        for e, advantages in zip(experiences, whitened, strict=True):
            e.advantages = advantages
    return metrics


def _objective(experiences: Sequence[Experience], rewards: Sequence[Tensor]) -> dict[str, float]:
    def summed(parts: Sequence[Tensor]) -> float:
        return sum(float(part.double().sum()) for part in parts)

    own = {
        "kl": summed([e.logps - e.reference_logps for e in experiences]),
        "entropy": summed([-e.logps for e in experiences]),
        "scores": summed([e.scores for e in experiences]),
        "rewards": summed(rewards),
        "ended": summed([e.ended for e in experiences]),
        "tokens": float(sum(e.tokens for e in experiences)),
        "responses": float(sum(len(e.lengths) for e in experiences)),
    }
    sums = ranks.summed(own)
    ended, count = sums["ended"], sums.pop("responses")
    mean = {name: value / count for name, value in sums.items()}
    return {
        "objective/kl": mean["kl"],
        "objective/entropy": mean["entropy"],
        "objective/scores": mean["scores"],
        "objective/non_score_reward": mean["rewards"] - mean["scores"],
        "objective/rlhf_reward": mean["rewards"],
        "val/num_eos_tokens": ended,
        "val/ended_share": mean["ended"],
        "val/mean_tokens": mean["tokens"],
    }


def _whitened(parts: Sequence[Tensor], *, shift_mean: bool) -> list[Tensor]:
    """Whiten values of a whole step, which lie in several parts and with several ranks."""
    own = torch.cat(list(parts)) if parts else torch.zeros(0)
    others = ranks.gather(own.cpu())
    whole = torch.cat(others).to(own.device)
    white = whiten(whole, torch.ones_like(whole, dtype=torch.bool), shift_mean=shift_mean)
    ours = white.split([len(other) for other in others])[ranks.rank()]
    return list(ours.split([len(part) for part in parts]))
