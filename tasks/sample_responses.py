"""Steps 2 and 5: let the policy answer queries, shard by shard, so that a kill costs one shard."""

from __future__ import annotations

from tasks.models.sample_shards import RolloutConfig, sample_in_shards
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=4, resources="gpu")
def sample_responses(
    policy: Artifact,
    queries: Artifact,
    *,
    config: RolloutConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Sample S responses per query.

    Args:
        policy: Model folder.
        queries: Folder of groups; only their prompts are read.
        config: S, temperature, truncation, limits, shard size.
        seed: Of the draws; each shard derives its own.
        workspace: `output/` receives K = S groups in the order of the queries.
        log: Where progress goes.

    Returns:
        `responses`, `mean_tokens`, `ended_share` (with EOS) and `speed/tokens_per_second`.

    Raises:
        ConfigError: The model's context is too short for the limits.
    """
    return sample_in_shards(policy.path, queries.path, config, workspace, log, seed)
