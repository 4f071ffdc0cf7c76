"""The reward-model objectives by name, and what each of them is trained on and started from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.settings.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor


def _apo_rm(*sets: Tensor, **options: Any) -> Tensor:
    from tasks.objectives.apo import apo_rm

    return apo_rm(*sets, **options)


def _apo_rm_wgan(*sets: Tensor, **options: Any) -> Tensor:
    from tasks.objectives.apo import apo_rm_wgan

    return apo_rm_wgan(*sets, **options)


def _apo_rm_gail(*sets: Tensor, **options: Any) -> Tensor:
    from tasks.objectives.apo import apo_rm_gail

    return apo_rm_gail(*sets, **options)


@dataclass(frozen=True)
class RewardObjective:
    """One way to train a reward model."""

    name: str
    """The name in configs, manifests and metrics."""

    game: Callable[..., Tensor] | None = None
    """The loss on gold against samples and preferences, with the arguments of ``apo_rm``;
    None: the ranking loss on preferences alone."""

    continues: bool = False
    """Whether it starts from an earlier reward model rather than from the base model."""

    uses_preferences: bool = True
    """Whether human preferences enter the loss."""

    @property
    def is_weighted(self) -> bool:
        """Whether it has both, human preferences and gold against samples, to weigh."""
        return self.game is not None and self.uses_preferences


REWARD_OBJECTIVES: dict[str, RewardObjective] = {
    objective.name: objective
    for objective in (
        RewardObjective("bradley_terry"),
        RewardObjective("apo_rm", game=_apo_rm),
        RewardObjective("wgan", game=_apo_rm_wgan),
        RewardObjective("gail", game=_apo_rm_gail, uses_preferences=False),
        RewardObjective("ab", continues=True),
        RewardObjective("sequential", game=_apo_rm, continues=True),
    )
}


def get_reward_objective(name: str) -> RewardObjective:
    """Return the reward-model objective of this name.

    Raises:
        ConfigError: there is none; the message lists the known ones.

    Example:
        >>> get_reward_objective("ab").continues
        True
    """
    if name not in REWARD_OBJECTIVES:
        known = sorted(REWARD_OBJECTIVES)
        raise ConfigError(f"unknown reward objective {name!r}{did_you_mean(name, known)}")
    return REWARD_OBJECTIVES[name]
