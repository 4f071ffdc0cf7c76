"""Decides whether a candidate may become the champion, and writes down on what evidence."""

from __future__ import annotations

from tasks.evaluation.config import GateCheck
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=6, resources="cpu")
def decide_promotion(
    candidate: Artifact,
    opponent: Artifact,
    reward_model: Artifact | None,
    judge: Artifact | None,
    verdicts: Artifact | None,
    *,
    config: GateCheck,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Compare a candidate's metrics with the criteria of the gate.

    Args:
        candidate: Evaluation of its policy.
        opponent: Evaluation of the champion's policy, or of the start, on the same test prompts.
        reward_model: Evaluation of its reward model; None in a run without one.
        judge: Evaluation of the reward model that decides what wins; None for one that knows.
        verdicts: What a language model said of both; None where the gate does not ask for it.
        config: The criteria.
        seed: Of the bootstrap.
        workspace: `output/` receives report.md and report.json.
        log: Where the verdict is noted.

    Returns:
        `holds` (1 or 0), `win_rate` and `judge_accuracy` with their intervals, `prompts`, `ece`,
        `kl`, and with verdicts `judged_win_rate` and `judged_flipped`.

    Raises:
        ConfigError: The two evaluations share no prompt that the gate's judge scored.
    """
    from tasks.evaluation.gate import decide

    metrics = decide(
        candidate.path,
        opponent.path,
        reward_model.path if reward_model else None,
        judge.path if judge else None,
        verdicts.path if verdicts else None,
        config,
        seed,
        workspace.output,
    )
    log.note("the gate holds" if metrics["holds"] else "the gate refuses")
    return metrics
