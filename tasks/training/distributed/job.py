"""A training as plain values, which can travel to the processes that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tasks.settings.base import FrozenConfig
from tasks.training.config import TrainingConfig
from tasks.training.scale import TrainingScale


class TrainingJob(FrozenConfig):
    """What is trained on what. The data lie in parts of the workspace already."""

    kind: Literal["policy", "ppo", "reward", "classifier", "tqr"]
    """What is updated, and so which `fit` does it: `tasks.training.worker` knows."""

    model: Path
    """The model folder to start from."""

    config: dict[str, Any]
    """The stage's config as JSON, such as a ``PolicyConfig``."""

    inputs: dict[str, Path] = {}
    """Folders with the data, by name."""

    seed: int
    """Of new weights and of the order of the data."""

    @property
    def training(self) -> TrainingConfig:
        """How many processes train, with which of DeepSpeed's settings, and the optimiser's."""
        # PPO has two optimisers, and the rest beside them.
        beside = {key: self.config[key] for key in TrainingScale.model_fields if key in self.config}
        return TrainingConfig.model_validate(self.config.get("training", beside))


class WorkOrder(FrozenConfig):
    """A job as the processes of a launcher read it from a file."""

    job: TrainingJob
    """What to train."""

    workspace: Path
    """The attempt's folder, on a disk that all processes share."""

    outcome: Path
    """The file that says how it ended: launchers hide exit codes and errors."""

    address: str
    """The stage's socket; the main process tells it what happens."""

    mirrored: bool
    """Whether the stage wants to copy each part to the remote."""

    lease: Path | None = None
    """The file that says whose turn it is to work on the stage's key; None: nobody else can."""

    token: int = 0
    """The stage's number in that file."""
