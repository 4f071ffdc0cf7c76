"""What every flow's reward models start from, beside how they are trained. Imports no torch."""

from __future__ import annotations

from tasks.training.config import RewardConfig


class RewardStart(RewardConfig):
    """How reward models are trained, and the model that they start from."""

    base: str | None = None
    """Model folder, GGUF file or hub name (`NAME` or `NAME@REVISION`) whose backbone every reward
    model starts from, such as the pretrained model in the papers. Default: the policy after SFT."""

    def of_objective(self, objective: str) -> RewardConfig:
        """Return the settings of one update: they do not say where the model comes from."""
        shared = {name: getattr(self, name) for name in RewardConfig.model_fields}
        return RewardConfig(**shared | {"objective": objective})
