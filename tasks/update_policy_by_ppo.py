"""Step 7: reinforce the policy with the rewards of its own responses (PPO)."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.ppo.config import PpoConfig


@stage_task(version=2, resources="gpu", produces="policy")
def update_policy_by_ppo(
    policy: Artifact,
    reward_model: Artifact,
    prompts: Artifact,
    reference: Artifact,
    *,
    config: PpoConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Train the policy by proximal policy optimisation.

    Args:
        policy: Model folder to start from.
        reward_model: What scores responses: a reward model, an oracle or a classifier.
        prompts: Folder of groups; only their prompts are read.
        reference: Model folder that the policy is kept near to.
        config: Rollouts, optimisers, clipping, KL penalty.
        seed: Of the order of the prompts, of the draws and of a new critic.
        workspace: `output/` becomes a model folder; training checkpoints are its parts.
        log: Where metrics and progress go.

    Returns:
        The means of the training's metrics over its steps.

    Raises:
        ConfigError: A model cannot be loaded or has an encoder, or the limits do not fit.
        StageError: A loss, a gradient or a score stopped being finite.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    from tasks.training.ppo.trainer import train_by_ppo

    return train_by_ppo(
        policy.path,
        reward_model.path,
        prompts.path,
        reference.path,
        config,
        workspace,
        log,
        seed,
    )
