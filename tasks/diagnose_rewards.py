"""Look into a TQR: can its rewards be believed, and which tokens do they point at?"""

from __future__ import annotations

from tasks.evaluation.ava.config import DiagnosisConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=6, resources="gpu")
def diagnose_rewards(
    reward_model: Artifact,
    pairs: Artifact,
    oracle: Artifact | None,
    *,
    config: DiagnosisConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Measure a TQR's rewards position by position, and show them on real examples.

    Args:
        reward_model: Folder of a TQR.
        pairs: Folder of groups whose column 0 is the better response.
        oracle: world.json of the playground, where the data come from there.
        config: Discount, how many pairs, which beginnings.
        seed: Of the shuffled control.
        workspace: `output/` receives report.md, report.json and report.html with their tables and
            plots, and heat-map.html.
        log: Where progress goes.

    Returns:
        Sizes of temporal-difference errors, how often they lie within one and two standard
        deviations, floored tokens, accuracy on beginnings, and with an oracle the rank correlation
        of rewards with its penalties beside that of a shuffled control.
    """
    from tasks.evaluation.ava.diagnosis import diagnose

    world = oracle.path if oracle else None
    return diagnose(reward_model.path, pairs.path, world, config, workspace.output, log, seed=seed)
