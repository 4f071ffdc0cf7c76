"""Step 4: update the reward model – gold against samples, kept honest by human preferences."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.config import RewardConfig


@stage_task(version=4, resources="gpu", produces="reward_model")
def update_reward_model(
    base: Artifact,
    preferences: list[Artifact],
    apo: Artifact | None = None,
    *,
    config: RewardConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Train a reward model from `base`.

    Args:
        base: A policy, whose backbone receives a scalar head, or a reward model to go on from.
        preferences: D_P: folders of pairs, chosen first.
        apo: D_APO: folder of groups with gold in column 0; None for the plain Bradley–Terry model.
        config: Objective, β₂, optimiser, limits.
        seed: Of adapters and of the order of the data.
        workspace: `output/` becomes a model folder; training checkpoints are its parts.
        log: Where metrics and progress go.

    Returns:
        The last training metrics.

    Raises:
        ConfigError: The objective is unknown or lacks its data, or a group does not fit.
        StageError: The loss stopped being finite.
    """
    from tasks.training.updates.reward_model import train_reward_model

    folders = [folder.path for folder in preferences]
    return train_reward_model(
        base.path, folders, apo.path if apo else None, config, workspace, log, seed
    )
