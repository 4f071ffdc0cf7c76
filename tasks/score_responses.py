"""Step 6: let a reward model, a classifier or an exact oracle score every response."""

from __future__ import annotations

from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.score_shards import score_in_shards
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=3, resources="gpu")
def score_responses(
    reward_model: Artifact,
    responses: Artifact,
    *,
    config: ScoringConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Write the same groups with the scores of a reward model, an oracle, or by exact match.

    Args:
        reward_model: Folder of a reward model, which brings its own tokenizer and template, or of a
            classifier, the playground's world.json, or a folder of groups whose first responses
            end in the right number.
        responses: Folder of groups.
        config: Token limits and batch size.
        workspace: `output/` receives the groups with scores, in order.
        log: Where progress goes.

    Returns:
        `mean_score`, and `tied_share`: groups in which all scores are equal.
    """
    return score_in_shards(reward_model.path, responses.path, config, workspace, log)
