"""Trainings of TQRs that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.settings.log import Log, NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import TrainingConfig
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.training.updates.tqr import train_tqr

LIMITS = {"max_prompt_tokens": 40, "max_response_tokens": 40}
TRAINING = TrainingConfig(
    learning_rate=1e-2,
    batch_size=5,
    micro_batch_tokens=120,
    num_train_epochs=4,
    logging_steps=1,
    precision="fp32",
)
OBJECTIVES = ("ava_p", "ava_d", "bradley_terry", "preference_transformer")


def config_of(
    objective: str = "ava_p", *, training: dict[str, Any] | None = None, **given: Any
) -> TqrUpdateConfig:
    return TqrUpdateConfig(
        objective=objective,
        limits=LIMITS,
        training=TRAINING.model_copy(update=training or {}),
        **given,
    )


def train(
    path: Path,
    base: Path,
    data: Path,
    config: TqrUpdateConfig,
    log: Log | None = None,
    *,
    apo: Path | None = None,
) -> dict[str, float]:
    return train_tqr(base, [data], apo, config, Workspace(path), log or NullLog(), seed=0)
