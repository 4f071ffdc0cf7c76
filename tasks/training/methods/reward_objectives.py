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

    trains_tqr: bool = False
    """Whether it trains a TQR, which is the stage `update_tqr`, rather than a scalar head."""

    @property
    def plays(self) -> bool:
        """Whether it learns from gold against samples where there are any."""
        return self.game is not None or self.trains_tqr

    @property
    def is_weighted(self) -> bool:
        """Whether it has both, human preferences and gold against samples, to weigh."""
        return self.plays and self.uses_preferences


BRADLEY_TERRY, AVA_P = "bradley_terry", "ava_p"
"""The objectives on human preferences alone; the latter, which trains TQRs, takes gold too."""
REWARD_OBJECTIVES: dict[str, RewardObjective] = {
    objective.name: objective
    for objective in (
        RewardObjective(BRADLEY_TERRY),
        RewardObjective("apo_rm", game=_apo_rm),
        RewardObjective("wgan", game=_apo_rm_wgan),
        RewardObjective("gail", game=_apo_rm_gail, uses_preferences=False),
        RewardObjective("ab", continues=True),
        RewardObjective("sequential", game=_apo_rm, continues=True),
    )
}
"""The objectives of reward models with one score: those of the stage `update_reward_model`."""
_ALL = {**REWARD_OBJECTIVES, AVA_P: RewardObjective(AVA_P, trains_tqr=True)}


def get_reward_objective(name: str) -> RewardObjective:
    """Return the reward-model objective of this name.

    Raises:
        ConfigError: there is none; the message lists the known ones.

    Example:
        >>> get_reward_objective("ab").continues
        True
    """
    if name not in _ALL:
        raise ConfigError(f"unknown reward objective {name!r}{did_you_mean(name, sorted(_ALL))}")
    return _ALL[name]
