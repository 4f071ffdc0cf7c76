"""Step 8: measure a reward model: accuracy, calibration, length; on human and gold pairs."""

from __future__ import annotations

from tasks.evaluation.config import RewardModelEvaluation
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=5, resources="gpu")
def evaluate_reward_model(
    reward_model: Artifact,
    pairs: dict[str, Artifact],
    *,
    config: RewardModelEvaluation,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Score sets of groups whose column 0 is the better response and measure the ranking.

    Args:
        reward_model: Model folder.
        pairs: Folders of groups by name; column 0 against each further column is one pair.
        config: Token limits, template, bins.
        workspace: `output/` receives `evaluation.json`, per-pair margins, and a reliability diagram
            per set as PNG, SVG and CSV.
        log: Where progress goes.

    Returns:
        `<set>/accuracy`, `<set>/ece` and their kin.
    """
    from tasks.evaluation.reward_model import measure_reward_model

    folders = {name: folder.path for name, folder in pairs.items()}
    return measure_reward_model(reward_model.path, folders, config, workspace.output, log)
