"""How the flow `exo` measures its checkpoints, and how it tunes PPO. Imports no torch."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

from pydantic import Field, model_validator

from tasks.evaluation.config import EvaluationConfig, GateConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.settings.base import FrozenConfig
from tasks.training.ppo.config import PpoConfig

RM, ORACLE = "RM", "oracle"
"""The judges of this flow."""


class ExoGateConfig(GateConfig):
    """What `sparring promote exo` asks of a candidate."""

    tester: str = RM
    """Who decides what wins: RM or oracle."""


class DensitySettings(FrozenConfig):
    """What Figures 3 and 9 are drawn from."""

    prompts: int = Field(default=8, ge=1)
    """Test prompts. The protocol asks for at least 7."""

    samples: int = Field(default=256, ge=2)
    """Samples of the start per prompt (M)."""

    beta: float | None = Field(default=None, gt=0)
    """β of the optimal policy, reward units, for every branch. Default: each branch's own – β_π ·
    β_r, β_π alone of a method on pairs, kl_coef of PPO –, and for a method without one that of the
    first branch that has it."""

    bandwidth: float | None = Field(default=None, gt=0)
    """Of the Gaussian kernel, nats; default Silverman's rule per prompt."""


class ExoEvaluation(EvaluationConfig):
    """How every checkpoint is measured: one set of samples serves all metrics.

    Where the answers that are judged have draws of their own, a second set estimates the KL.
    """

    prompts: int = Field(default=512, ge=1)
    """Test prompts at the last checkpoint of a branch, a sample of so many. Default 512: EXO,
    appendix C."""

    samples: int = Field(default=4, ge=1)
    """Completions per prompt (M). Default 4: EXO, appendix C."""

    temperature: float | None = Field(default=None, gt=0)
    """τ of the answers that are judged. Default: the τ that a branch is trained at, at which its KL
    is always estimated."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of the answers that are judged. Default: everything is drawn, as in training."""

    snapshot_prompts: int | None = Field(default=None, ge=1)
    """Test prompts at earlier checkpoints, some of those at the last; default all of them."""

    density: DensitySettings | None = DensitySettings()
    """The density ratio; null leaves it out."""

    max_kl: float | None = Field(default=None, gt=0)
    """The run offers, of its last checkpoints with at most this KL (nats), the one with the highest
    reward. Default: no limit."""

    def judged(self, draws: SamplingConfig) -> SamplingConfig:
        """Return how the answers are drawn that are judged, given how a branch draws."""
        own = {"temperature": self.temperature or draws.temperature, "top_p": self.top_p}
        return draws.model_copy(update=own)


class PpoSearch(FrozenConfig):
    """A search over the knobs that the paper tunes; chosen by reward − kl_coef · KL on dev."""

    trials: int = Field(default=15, ge=1)
    """Combinations tried, drawn at random where there are more. Default 15: EXO on IMDB."""

    prompts: int = Field(default=128, ge=1)
    """Dev prompts that each trial is measured on."""

    critic_warmup_steps: tuple[int, ...] = ()
    """Steps with the actor frozen."""

    total_steps: tuple[int, ...] = ()
    """PPO steps."""

    actor_learning_rate: tuple[float, ...] = ()
    """Of the policy."""

    critic_learning_rate: tuple[float, ...] = ()
    """Of the critic."""

    prompts_per_step: tuple[int, ...] = ()
    """Batch."""

    @model_validator(mode="after")
    def _something(self) -> PpoSearch:
        if not self._values():
            raise ValueError("name the values of at least one knob, such as actor_learning_rate")
        return self

    def settings(self, base: PpoConfig, seed: int) -> list[PpoConfig]:
        """Return the combinations to try, on a base of what is not tuned.

        Among more than `trials` the seed decides.
        """
        values = self._values()
        found = [
            PpoConfig.model_validate({**base.model_dump(), **dict(zip(values, one, strict=True))})
            for one in product(*values.values())
        ]
        if len(found) > self.trials:
            found = random.Random(f"{seed}/ppo search").sample(found, self.trials)
        return found

    def _values(self) -> dict[str, tuple[Any, ...]]:
        fixed = {"trials", "prompts"}
        names = [name for name in type(self).model_fields if name not in fixed]
        return {name: getattr(self, name) for name in names if getattr(self, name)}
