"""Writes what a judge said of a match as a report for people."""

from __future__ import annotations

from tasks.evaluation.judging.config import JudgeConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=3, resources="cpu")
def write_judge_report(
    verdicts: dict[str, Artifact], *, config: JudgeConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Lay out win rates, position bias, length and agreement, and eight prompts with both verdicts.

    Args:
        verdicts: Outputs of `judge_responses`, by `OURS vs THEIRS`.
        config: The judge and its question, which the report names.
        workspace: `output/` receives report.md, report.json, report.html and a CSV per table.
        log: Where the findings are noted.

    Returns:
        `MATCH/win`, `MATCH/lose` and `MATCH/tie` of every match that has a verdict.
    """
    from tasks.evaluation.judging.report import write_match_report

    folders = {name: folder.path for name, folder in verdicts.items()}
    return write_match_report(folders, config, workspace.output, log)
