"""Supervised fine-tuning: imitate the demonstrations, or the golden responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.groups import Group
from tasks.settings.errors import ConfigError
from tasks.training.methods.method import GroupMethod, NoCoefficients

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.training.methods.method import LossAndMetrics


def _select(group: Group) -> list[Group]:
    if len(group.responses) != 1:
        raise ConfigError(
            f"sft learns from one demonstration per prompt, and group {group.title} has "
            f"{len(group.responses)} responses: use rjs to learn from the best of several"
        )
    return [group]


def _loss(
    policy_logps: Tensor,
    reference_logps: Tensor | None,
    rewards: Tensor,
    lengths: Tensor,
    mask: Tensor,
    coefficients: NoCoefficients,
) -> LossAndMetrics:
    from tasks.objectives.sft import sft

    losses = sft(policy_logps[:, 0])
    return losses, {"nats_per_token": losses.detach() / lengths[:, 0].clamp(min=1)}


SFT = GroupMethod(
    name="sft",
    title="SFT on chosen",
    learns_from="demonstrations",
    # The best of a pair is the chosen response.
    on_pairs="rjs",
    select=_select,
    loss=_loss,
    colour="#56B4E9",
    marker="P",
)
