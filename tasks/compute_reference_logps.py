"""Step 7, before the update: what the reference model gives the responses, computed once."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.config import ReferenceConfig


@stage_task(version=3, resources="gpu")
def compute_reference_logps(
    reference: Artifact,
    groups: list[Artifact],
    *,
    config: ReferenceConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Write the log-probability of each response that the policy method selects.

    Args:
        reference: Model folder of π_ref.
        groups: Folders of scored groups, the same that the policy will be updated on.
        config: What decides these numbers: method, limits, template, temperature, precision.
        workspace: `output/` receives `logps.safetensors` and `index.json`; shards are parts.
        log: Where progress goes.

    Returns:
        Counts of the data, `mean_logp` in nats, and `shared_prompts`.

    Raises:
        ConfigError: The model cannot be loaded, or the method lacks responses or scores.
    """
    from tasks.training.updates.reference_logps import compute_logps

    folders = [folder.path for folder in groups]
    return compute_logps(reference.path, folders, config, workspace, log, digest=reference.digest)
