"""Step 9: the report of the flow `exo` – frontier, density ratio, sweeps, win rates, examples."""

from __future__ import annotations

from tasks.evaluation.exo.config import ExoReportConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=11, resources="cpu")
def write_exo_report(
    policies: dict[str, Artifact],
    reward_models: dict[str, Artifact],
    density: Artifact | None,
    examination: Artifact | None = None,
    verdicts: dict[str, Artifact] | None = None,
    *,
    config: ExoReportConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Assemble what the evaluations measured.

    Args:
        policies: Evaluations of policies by the names of `config.entries`.
        reward_models: Evaluations of reward models on human pairs by name; may be empty.
        density: Output of `estimate_density_ratios`; None leaves the density ratio out.
        examination: What of the data the models did not see; None where the data are plain texts.
        verdicts: What a judge said of matches, by `OURS vs THEIRS`; None or empty without one.
        config: Order and meaning of the entries.
        workspace: `output/` receives report.md, report.html, report.json and the plots with CSVs.
        log: Where notes go.

    Returns:
        Per line of the frontier, at its last checkpoint and as means over its seeds: `reward`,
        `kl` and `win_rate`; per comparison at equal KL its `difference`.

    Raises:
        ConfigError: An entry has no evaluation, or the judge scored nothing.
    """
    from tasks.evaluation.exo.report import assemble_exo_report

    return assemble_exo_report(
        {name: evaluation.path for name, evaluation in policies.items()},
        {name: evaluation.path for name, evaluation in reward_models.items()},
        density.path if density else None,
        examination.path if examination else None,
        config,
        workspace.output,
        log,
        {name: match.path for name, match in (verdicts or {}).items()},
    )
