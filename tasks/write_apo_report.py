"""Step 9: the report – the paper's Tables 1 to 4, Figure 5, the state of the game, and examples."""

from __future__ import annotations

from tasks.evaluation.config import ReportConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=13, resources="cpu")
def write_apo_report(
    counts: Artifact,
    examination: Artifact,
    gold: Artifact,
    policies: dict[str, Artifact],
    reward_models: dict[str, Artifact],
    games: dict[str, Artifact],
    verdicts: dict[str, Artifact],
    *,
    config: ReportConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Assemble what the evaluations measured.

    Args:
        counts: table1.json of the prepared data.
        examination: What of the data the models did not see.
        gold: The gold responses that D_APO is made of, and what was wrong with others.
        policies: Evaluations of policies by name.
        reward_models: Evaluations of reward models on human pairs by name.
        games: Evaluations on held-out gold against fresh samples, by `EPOCH/ROLE`.
        verdicts: What a judge said of matches, by `OURS vs THEIRS`; empty without one.
        config: Order and meaning of the entries.
        workspace: `output/` receives report.md, report.html, report.json and the plots with CSVs.
        log: Where notes go.

    Returns:
        The headline metrics.
    """
    from tasks.evaluation.apo.report import assemble_apo_report

    return assemble_apo_report(
        counts.path,
        examination.path,
        gold.path,
        {name: evaluation.path for name, evaluation in policies.items()},
        {name: evaluation.path for name, evaluation in reward_models.items()},
        {name: evaluation.path for name, evaluation in games.items()},
        config,
        workspace.output,
        log,
        {name: match.path for name, match in verdicts.items()},
    )
