"""Actor and critic with their optimisers: the state that PPO trains and a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tasks.models.tokens.encoding import EncodedGroup
from tasks.objectives.ppo import next_kl_coef
from tasks.training.distributed.opening import open_engine
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.models import PpoModels


class ActorCritic:
    """Two models that are trained together, and the weight of the KL penalty between them."""

    def __init__(self, models: PpoModels, config: PpoConfig) -> None:
        """Prepare both for training; the reference stays as it is."""
        self.policy, self.critic = models.actor, models.critic
        self.of_actor = open_engine(models.actor, config.optimiser(config.actor_learning_rate))
        """The actor with its optimiser."""
        self.of_critic = open_engine(models.critic, config.optimiser(config.critic_learning_rate))
        """The critic with its optimiser."""
        self.zero_stage = self.of_actor.zero_stage
        """Which of DeepSpeed's ZeRO stages both are in; 0: none."""
        self._reference, self._adapter = models.reference, models.trained.adapter
        self.kl_coef = config.kl_coef
        """Weight of the KL to the reference now, reward units per nat."""
        self._adaptive = config.adaptive_kl

    @property
    def module(self) -> nn.Module:
        """Policy and critic as one module, with the parameters of both."""
        return nn.ModuleDict({"actor": self.policy, "critic": self.critic})

    def reference_logps(self, groups: Sequence[EncodedGroup], pad_id: int) -> Tensor:
        """Return the log-probability of each response token under the reference, nats. (S,)."""
        layout = self._reference or self.policy
        batch = layout.batch(groups, pad_id).to(self.of_actor.device)
        if self._reference is not None:
            logps: Tensor = self._reference(batch)
            return logps
        assert self._adapter is not None, "only adapters make the actor its own reference"
        with self._adapter.switched_off():
            logps = self.of_actor.model(batch)
        return logps

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
