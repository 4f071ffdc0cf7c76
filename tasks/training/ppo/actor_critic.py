"""Actor and critic with their optimisers: the state that PPO trains and a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tasks.models.critic import GroupCritic
from tasks.models.groups.group_model import GroupPolicy
from tasks.objectives.ppo import next_kl_coef
from tasks.training.distributed.engine import Engine
from tasks.training.ppo.config import PpoConfig


class ActorCritic:
    """Two models that are trained together, and the weight of the KL penalty between them."""

    zero_stage = 0
    """Of DeepSpeed's ZeRO: none."""

    def __init__(self, policy: GroupPolicy, critic: GroupCritic, config: PpoConfig) -> None:
        """Prepare both, which have fp32 weights, for training."""
        self.policy, self.critic = policy, critic
        self.of_actor = Engine(policy, config.optimiser(config.actor_learning_rate))
        """The actor with its optimiser."""
        self.of_critic = Engine(critic, config.optimiser(config.critic_learning_rate))
        """The critic with its optimiser."""
        self.kl_coef = config.kl_coef
        """Weight of the KL to the reference now, reward units per nat."""
        self._adaptive = config.adaptive_kl

    @property
    def module(self) -> nn.Module:
        """Policy and critic as one module, with the parameters of both."""
        return nn.ModuleDict({"actor": self.policy, "critic": self.critic})

    def adapt(self, kl: float, responses: int) -> None:
        """Let the weight of the KL follow a measurement, if it is to.

        Args:
            kl: To the reference, nats per response.
            responses: How many were measured.
        """
        if self._adaptive is not None:
            self.kl_coef = next_kl_coef(
                self.kl_coef,
                kl,
                target=self._adaptive.target,
                horizon=self._adaptive.horizon,
                responses=responses,
            )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the state of both; return what reads it back."""
        return {
            "actor": self.of_actor.save(folder / "actor"),
            "critic": self.of_critic.save(folder / "critic"),
            "kl_coef": self.kl_coef,
        }

    def load(self, folder: Path, written: Mapping[str, Any]) -> None:
        """Put back what `save` wrote.

        Raises:
            FileNotFoundError: A file is missing.
            KeyError: `written` lacks an entry.
        """
        self.of_actor.load(folder / "actor", written["actor"])
        self.of_critic.load(folder / "critic", written["critic"])
        self.kl_coef = written["kl_coef"]
