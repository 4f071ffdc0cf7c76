"""Step 9: best-of-N, the baseline that trains nothing: the best of N scored samples."""

from __future__ import annotations

from tasks.evaluation.config import BestOfN
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=1, resources="cpu")
def pick_best_of_n(
    responses: Artifact, *, config: BestOfN, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Keep the highest-scored of each N samples.

    Args:
        responses: Folder of scored groups: N·m samples of the SFT start per prompt.
        config: N, and how many blocks of N are used.
        workspace: `output/` receives the groups, one response per block of N, with its score.
        log: Where progress goes.

    Returns:
        `kl` to the sampled policy (analytic, nats), `prompts`, `responses`, and `mean_score` of the
        picked ones.

    Raises:
        ConfigError: A prompt has fewer than N samples.
    """
    from tasks.evaluation.metrics.best_of_n import pick_best_groups

    return pick_best_groups(responses.path, config, workspace.output, log)
