"""Step 1: gold responses – one reference answer per reward-model query, part of them held out."""

from __future__ import annotations

from tasks.data.files import read_groups, write_groups
from tasks.endpoints.accounts import Account
from tasks.gold.collection import CANDIDATES, GoldConfig, chosen_lengths, collect, hold_out
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.stages.runs.context import current_run
from tasks.storage.workspace import Workspace


@stage_task(version=4, resources="cpu")
def collect_gold(
    queries: Artifact,
    answers: Artifact | None,
    pairs: Artifact | None,
    *,
    config: GoldConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Answer every reward-model query with gold and hold a share out for measuring the game.

    Args:
        queries: Folder of groups whose prompts are the reward model's queries.
        answers: What the gold provider answers from: a file, or the prepared pairs; None for
            a server.
        pairs: Folder of the reward model's pairs, whose chosen answers' lengths are compared.
        config: The provider, the held-out share, how many queries may stay unanswered.
        workspace: `output/train` and `output/dev` receive K = 1 groups; dev prompts are never
            sampled for training. Of several candidates `candidates` has all. `quality.json` and
            `quarantine.jsonl` say what was wrong.
        log: Where progress goes.

    Returns:
        `answered`, `unanswered`, `train` and `dev`, all counts; `quality/…`; what a server took.

    Raises:
        ConfigError: More queries than allowed have no gold response.
        BudgetExhausted: A server's next answer may cost too much.
    """
    # The key of the work, which all its attempts and all runs that do it share.
    call = workspace.path.parent.name
    account = Account(current_run().run_id, "collect_gold", work=call, call=call)
    source = answers.path if answers else None
    chosen = chosen_lengths(pairs.path if pairs else None)
    asked = read_groups(queries.path)
    gold, metrics = collect(config, asked, source, workspace, log, account, chosen)
    if config.candidates > 1:
        write_groups(workspace.output / CANDIDATES, gold)
        return metrics
    train, dev = hold_out(gold, config.dev_share)
    metrics["train"] = float(write_groups(workspace.output / "train", train))
    metrics["dev"] = float(write_groups(workspace.output / "dev", dev))
    return metrics
