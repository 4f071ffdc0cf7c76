"""Step 7: update the policy on scored responses (rjs, rrhf, dpo) or on demonstrations (sft)."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig


@stage_task(version=3, resources="gpu", produces="policy")
def update_policy(
    policy: Artifact,
    groups: list[Artifact],
    reference_logps: Artifact | None = None,
    *,
    config: PolicyConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Train the policy one APO epoch further.

    Args:
        policy: Model folder to start from.
        groups: Folders of scored groups, or of demonstrations.
        reference_logps: What `compute_reference_logps` made of the same groups, for the methods
            that need a reference.
        config: Method, coefficients, optimiser, limits.
        seed: Of the order of the data.
        workspace: `output/` becomes a model folder; training checkpoints are its parts.
        log: Where metrics and progress go.

    Returns:
        The last training metrics.

    Raises:
        ConfigError: The method lacks its data or its reference, or a group does not fit.
        StageError: The loss stopped being finite, the reference's figures are of other tokens, or
            the policy is its own reference and KL(policy‖reference) is not 0 at step 0.
    """
    from tasks.training.updates.policy import train_policy

    folders = [folder.path for folder in groups]
    return train_policy(
        policy.path,
        reference_logps.path if reference_logps else None,
        folders,
        config,
        workspace,
        log,
        seed,
        digest=policy.digest,
    )
