"""Step 8: the report of the flow `ava` – accuracies, Tables 2 to 5, reward hacking, examples."""

from __future__ import annotations

from tasks.evaluation.ava.config import AvaReportConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=10, resources="cpu")
def write_ava_report(
    policies: dict[str, Artifact],
    reward_models: dict[str, Artifact],
    diagnoses: dict[str, Artifact],
    start_scores: dict[str, Artifact],
    examination: Artifact,
    verdicts: dict[str, Artifact],
    *,
    config: AvaReportConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Assemble what the evaluations measured.

    Args:
        policies: Evaluations of contenders by the names of `config.entries` and of
            `config.snapshots`.
        reward_models: Evaluations of reward models by the names of `config.rewards`, and of judges.
        diagnoses: Outputs of `diagnose_rewards` by the names of reward models; may be empty.
        start_scores: Samples of the start as the first judge and the reward models scored them, by
            their names; may be empty.
        examination: What of the data the models did not see.
        verdicts: What a judge said of matches, by `OURS vs THEIRS`; empty without one.
        config: Order and meaning of the entries.
        workspace: `output/` receives report.md, .html and .json, tables as CSVs, and heat-maps.
        log: Where notes go.

    Returns:
        Per reward model `accuracy_last` and `accuracy_return` on the test pairs, per contender
        `reward`, `kl` and, if asked for, `exact_match`, and per match of the paper's tables the
        `lead`: won minus lost.

    Raises:
        ConfigError: An entry has no evaluation, or a judge did not score it.
    """
    from tasks.evaluation.ava.report import assemble_ava_report

    return assemble_ava_report(
        {name: evaluation.path for name, evaluation in policies.items()},
        {name: evaluation.path for name, evaluation in reward_models.items()},
        {name: diagnosis.path for name, diagnosis in diagnoses.items()},
        {name: scored.path for name, scored in start_scores.items()},
        examination.path,
        config,
        workspace.output,
        log,
        {name: match.path for name, match in verdicts.items()},
    )
