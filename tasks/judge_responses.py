"""Ask a language model which of two sides' answers are better, each pair in both orders."""

from __future__ import annotations

from tasks.endpoints.accounts import Account
from tasks.evaluation.judging.config import JudgeConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.context import current_run
from tasks.storage.workspace import Workspace


@stage_task(version=5, resources="cpu")
def judge_responses(
    ours: Artifact,
    theirs: Artifact | None,
    gold: Artifact | None,
    our_scores: dict[str, Artifact],
    their_scores: dict[str, Artifact],
    *,
    config: JudgeConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Judge the first answers of two sides to the prompts that both answered.

    Args:
        ours: Folder of groups.
        theirs: Folder of groups of the opponent; None: the second response of each of ours.
        gold: Folder of groups with golden answers, for a question that shows them.
        our_scores: Our answers as scored by reward models, by their name.
        their_scores: Those of the opponent; the winners of who scored both are compared.
        config: The judge, its question, and how many prompts it is asked about.
        seed: Of the intervals.
        workspace: `output/` receives verdicts.jsonl, a line per pair, and verdicts.json.
        log: Where progress goes.

    Returns:
        `asked`, `valid`, `win`, `lose`, `tie` with their intervals, `flipped`,
        `agreement/…` with reward models, and what it cost.

    Raises:
        BudgetExhausted: The endpoint's budget is used up; answers are kept, and never paid again.
        ConfigError: The sides share no prompt, or the key is missing or refused.
        StageError: The server does not answer.
    """
    from tasks.evaluation.judging.matchup import Sides, judge_sides

    run = current_run().run_id
    # All matches of a run share one budget, over its attempts.
    call = workspace.path.parent.name
    others = theirs.path if theirs else None
    golden = gold.path if gold else None
    mine = {name: one.path for name, one in our_scores.items()}
    sides = Sides(ours.path, others, golden, mine, {n: one.path for n, one in their_scores.items()})
    account = Account(run, "judge_responses", f"judge of {run}" if run else call, call)
    return judge_sides(sides, config, workspace, log, seed, account)
