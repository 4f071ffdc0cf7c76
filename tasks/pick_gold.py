"""Step 1: of several candidates for a gold response the best becomes gold."""

from __future__ import annotations

from tasks.endpoints.accounts import Account
from tasks.evaluation.judging.config import ChoiceConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.context import current_run
from tasks.storage.workspace import Workspace


@stage_task(version=1, resources="cpu")
def pick_gold(
    collected: Artifact,
    scores: Artifact | None,
    *,
    config: ChoiceConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Take the candidate with the highest score, or the one that a judge prefers to the others.

    Args:
        collected: What `collect_gold` left: all candidates, and what was wrong with others.
        scores: The candidates as a reward model scored them; None for a judge.
        config: The judge, if it is one, and the held-out share.
        workspace: `output/train` and `output/dev` receive K = 1 groups, whose `extra` says which
            candidate of how many it is; `quality.json` is passed on.
        log: Where progress goes.

    Returns:
        `train` and `dev`, `candidates` of them, `first_share`, and what a judge took.

    Raises:
        BudgetExhausted: The judge's budget is used up; its answers are kept.
    """
    from tasks.evaluation.judging.choice import pick_candidates

    run, call = current_run().run_id, workspace.path.parent.name
    # The judge of a run has one budget.
    account = Account(run, "pick_gold", f"judge of {run}" if run else call, call)
    scored = scores.path if scores else None
    return pick_candidates(collected.path, scored, config, workspace.output, log, account)
