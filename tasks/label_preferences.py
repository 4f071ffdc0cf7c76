"""Step 4: D_pref labelled by an oracle – the better of two samples of each prompt is chosen."""

from __future__ import annotations

from tasks.models.scoring.labelling import LabelConfig, label_in_shards
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="gpu")
def label_preferences(
    responses: Artifact, oracle: Artifact, *, config: LabelConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Write pairs in the form of human preferences: chosen first, scores 1 and 0.

    Args:
        responses: Folder of groups with at least two responses; the first two are compared.
        oracle: A classifier's folder, a reward model's, or the playground's world.json.
        config: Whether the better one always wins, and how a reward model scores.
        workspace: `output/` receives the pairs, in order; shards of scores are parts.
        log: Where progress goes.

    Returns:
        `pairs` and `ties` (counts; ties are left out), `mean_gap` in reward units, and
        `agreement`: the share of pairs whose chosen response has the larger reward.

    Raises:
        ConfigError: A group has fewer than two responses, or nothing at `oracle` can score.
        StageError: Every pair is tied.
    """
    return label_in_shards(oracle.path, responses.path, config, workspace, log)
