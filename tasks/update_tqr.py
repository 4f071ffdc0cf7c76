"""Train a TQR, AVA's model: a policy that says how each token is rewarded, and why."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.tqr_config import TqrUpdateConfig


@stage_task(version=1, resources="gpu", produces="policy")
def update_tqr(
    base: Artifact,
    groups: list[Artifact],
    apo: Artifact | None = None,
    *,
    config: TqrUpdateConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Train a TQR from `base`: a policy and a reward model in one folder.

    Args:
        base: A policy, which receives fresh heads, or a TQR of the same settings to go on from.
        groups: Folders of pairs or scored responses; for ava_d demonstrations too.
        apo: D_APO: folder of groups with gold in column 0, which `config.gold` says how to weigh.
        config: Objective, model, weights, optimiser, limits.
        seed: Of heads, of adapters and of the order of the data.
        workspace: `output/` becomes a TQR's folder; training checkpoints are its parts.
        log: Where metrics and progress go.

    Returns:
        The last training metrics.

    Raises:
        ConfigError: The model cannot be loaded, a group lacks responses or scores, or of D_APO
            and `config.gold` there is one without the other.
        StageError: There is nothing to learn from, or the loss stopped being finite.
    """
    from tasks.training.updates.tqr import train_tqr

    folders = [folder.path for folder in groups]
    return train_tqr(base.path, folders, apo.path if apo else None, config, workspace, log, seed)
