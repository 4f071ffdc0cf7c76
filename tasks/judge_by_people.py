"""Ask people which of two sides' answers are better, and wait for them."""

from __future__ import annotations

from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=4, resources="people")
def judge_by_people(
    ours: Artifact,
    theirs: Artifact,
    gold: Artifact | None,
    our_scores: dict[str, Artifact],
    their_scores: dict[str, Artifact],
    *,
    config: HumanEvaluationConfig,
    match: str,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Let people compare the first answers of two sides, in an order that the seed draws.

    Args:
        ours: Folder of groups.
        theirs: Folder of groups of the opponent.
        gold: Folder of groups with golden answers, for a question that shows them.
        our_scores: Our answers as scored by reward models, by their name.
        their_scores: Those of the opponent; the winners of who scored both are compared.
        config: Who is asked, what, and about how many prompts.
        match: What the match is called.
        seed: Of the order of the answers, and of the intervals.
        workspace: `output/` receives the files of `judge_responses`, with what each person said,
            and submissions.jsonl.
        log: Where progress goes.

    Returns:
        `asked`, `valid`, `win`, `lose`, `tie` with their intervals, `split`, `people`, `kappa` and
        `agreement/…` with reward models.

    Raises:
        Awaited: Too few have judged so far.
        ConfigError: The sides share no prompt, or a golden answer is missing.
    """
    from tasks.evaluation.judging.people import Sides, judge_by_people_of

    mine = {name: one.path for name, one in our_scores.items()}
    others = {name: one.path for name, one in their_scores.items()}
    golden = gold.path if gold else None
    sides = Sides(ours.path, theirs.path, golden, mine, others)
    return judge_by_people_of(sides, config, match, workspace, log, seed)
