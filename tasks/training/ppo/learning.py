"""Learning from one step's experience: some passes over its minibatches, actor and critic alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tasks.objectives.ppo import ppo_policy_loss, ppo_value_loss, probability_ratio
from tasks.settings.errors import StageError
from tasks.training.distributed import ranks
from tasks.training.distributed.engine import Engine
from tasks.training.optimiser import learning_rate
from tasks.training.ppo.actor_critic import ActorCritic
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.experience import Experience

Sums = dict[str, float]


class Learner:
    """Does the optimiser steps of PPO."""

    def __init__(self, models: ActorCritic, config: PpoConfig) -> None:
        """Take actor and critic, which every call of `learn` changes."""
        self._models, self._config = models, config

    def learn(self, minibatches: Sequence[Sequence[Experience]], step: int) -> dict[str, float]:
        """Go over a step's minibatches, in each pass all of them.

        Args:
            minibatches: With credit assigned; of each this rank's forward passes, as many as every
                other rank has.
            step: PPO steps done before.

        Returns:
            Means over all tokens of all passes, under the names that the field has for them
            (TRL's); `val/ratio_var` is the variance over tokens. Nothing about the policy while it
            is frozen.

        Raises:
            StageError: A loss or a gradient is not finite; it was not applied.
        """
        models, config = self._models, self._config
        sums: Sums = {}
        # Layers are computed again, where they are to be, in train mode alone.
        models.module.train()
        for _ in range(config.ppo_epochs):
            for minibatch in minibatches:
                _add(sums, "tokens", _tokens(minibatch))
                if step >= config.critic_warmup_steps:
                    self._update("policy", models.of_actor, self._policy, minibatch, step, sums)
                self._update("value", models.of_critic, self._value, minibatch, step, sums)
        models.module.eval()
        return _named(ranks.summed(sums))

    def _update(
        self,
        what: str,
        engine: Engine,
        share_of: Callable[[Experience, int, Sums], Tensor],
        minibatch: Sequence[Experience],
        step: int,
        sums: Sums,
    ) -> None:
        """Do one optimiser step of one of the two models."""
        config, own = self._config, 0.0
        counts = sum(ranks.gather(_tokens(minibatch)))
        with engine.one_step():
            for number, experience in enumerate(minibatch):
                with engine.one_pass(last=number == len(minibatch) - 1):
                    share = share_of(experience, counts, sums if experience.counts else {})
                    engine.backward(share if experience.counts else share * 0)
                own += float(share.detach()) if experience.counts else 0.0
        loss = sum(ranks.gather(own))
        if not math.isfinite(loss):
            raise _not_finite(f"{what} loss", loss, step, config)
        norm = engine.update(learning_rate(engine.config, step, config.total_steps))
        if not math.isfinite(norm):
            raise _not_finite(f"gradient norm of the {what} loss", norm, step, config)
        _add(sums, f"loss/{what}_avg", own * counts)
        _add(sums, f"grad_norm/{what}", norm * _tokens(minibatch))

    def _policy(self, e: Experience, counts: int, sums: Sums) -> Tensor:
        with self._models.of_actor.arithmetic():
            logps = self._models.of_actor.model(e.of_actor)
        mask, clip = torch.ones_like(logps, dtype=torch.bool), self._config.clip
        share = ppo_policy_loss(logps, e.logps, e.advantages, mask, clip=clip, counts=counts)
        with torch.no_grad():
            ratio = probability_ratio(logps, e.logps, mask).double()
            # The surrogate is flat where the ratio has left the range in the direction of the gain.
            flat = torch.where(e.advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
            _add(sums, "policy/approxkl_avg", (logps - e.logps).square().sum() / 2)
            _add(sums, "policy/clipfrac_avg", (flat & (e.advantages != 0)).sum())
            _add(sums, "val/ratio", ratio.sum())
            _add(sums, "squared ratio", ratio.square().sum())
        return share

    def _value(self, e: Experience, counts: int, sums: Sums) -> Tensor:
        with self._models.of_critic.arithmetic():
            values = self._models.of_critic.model(e.of_critic)
        mask, clip = torch.ones_like(values, dtype=torch.bool), self._config.value_clip
        share = ppo_value_loss(values, e.values, e.returns, mask, clip=clip, counts=counts)
        with torch.no_grad():
            near = e.values + (values - e.values).clamp(-clip, clip)
            clipped = (near - e.returns).square() > (values - e.returns).square()
            _add(sums, "val/clipfrac_avg", clipped.sum())
        return share


def _add(sums: Sums, name: str, value: Tensor | float) -> None:
    sums[name] = sums.get(name, 0.0) + float(value)


def _tokens(minibatch: Sequence[Experience]) -> int:
    return sum(e.tokens for e in minibatch if e.counts)


def _named(sums: Sums) -> dict[str, float]:
    seen = sums.pop("tokens")
    metrics = {name: value / seen for name, value in sums.items()}
    squared = metrics.pop("squared ratio", None)
    if squared is not None:
        metrics["val/ratio_var"] = max(0.0, squared - metrics["val/ratio"] ** 2)
    return metrics


def _not_finite(what: str, value: float, step: int, config: PpoConfig) -> StageError:
    return StageError(
        f"PPO step {step + 1} of {config.total_steps} has the {what} {value}: nothing of this step "
        "is kept, earlier checkpoints are. Lower actor_learning_rate and critic_learning_rate, or "
        "use precision fp32"
    )
