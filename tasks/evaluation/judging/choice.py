"""The best of several candidates for a gold response: by their scores, or by a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.evaluation.judging.config import ChoiceConfig, JudgeConfig
from tasks.evaluation.judging.matchup import judge_pairs
from tasks.evaluation.judging.verdicts import Pair
from tasks.gold.collection import CANDIDATES, QUALITY, hold_out
from tasks.settings.log import Log
from tasks.storage.files import read_json, write_json
from tasks.storage.home import current_home
from tasks.tracking.remote.opening import open_remote


def pick_candidates(
    collected: Path,
    scores: Path | None,
    config: ChoiceConfig,
    output: Path,
    log: Log,
    account: Account,
) -> dict[str, float]:
    """Write the best candidate of each query, as the stage `pick_gold` is asked to.

    Raises:
        BudgetExhausted: The judge's budget is used up; its answers are kept.
        StageError: The judge's server does not answer.
    """
    groups, costs = list(read_groups(collected / CANDIDATES)), {}
    if config.judge is None:
        assert scores is not None, "a reward model scores where no judge chooses"
        best = best_by_score(list(read_groups(scores)))
    else:
        ledger = Ledger(current_home().ledger, open_remote())
        with PaidCalls(config.judge.endpoint, ledger, account, "judge.endpoint") as calls:
            best = best_by_judge(groups, config.judge, calls, log)
            costs = calls.tally.metrics()
    gold = [_chosen(group, best[group.id]) for group in groups]
    train, dev = hold_out(gold, config.dev_share)
    write_json(output / QUALITY, read_json(collected / QUALITY))
    several = [best[group.id] == 0 for group in groups if len(group.responses) > 1]
    return {
        "train": float(write_groups(output / "train", train)),
        "dev": float(write_groups(output / "dev", dev)),
        "candidates": float(sum(len(group.responses) for group in groups)),
        "first_share": sum(several) / len(several) if several else 1.0,
        **costs,
    }


def best_by_score(scored: Sequence[Group]) -> dict[str, int]:
    """Return the place of the highest score in each group, by its id; of equal ones the first."""
    found = {}
    for group in scored:
        assert group.scores is not None, "a reward model scored every candidate"
        found[group.id] = group.scores.index(max(group.scores))
    return found


def best_by_judge(
    groups: Sequence[Group], judge: JudgeConfig, calls: PaidCalls, log: Log
) -> dict[str, int]:
    """Return the place of the candidate that a judge prefers in each group, by its id.

    The best so far meets the next one, in both orders; it stays unless it loses.
    """
    best = {group.id: 0 for group in groups}
    rounds = max((len(group.responses) for group in groups), default=0)
    for number in range(1, rounds):
        pairs = {
            group.id: Pair(group.prompt, group.responses[best[group.id]], group.responses[number])
            for group in groups
            if number < len(group.responses)
        }
        for one in judge_pairs(pairs, judge, calls, log):
            if one.judgement.outcome == "lose":
                best[one.id] = number
    return best


def _chosen(group: Group, place: int) -> Group:
    extra: Mapping[str, object] = {"candidate": place, "candidates": len(group.responses)}
    sources = group.sources and (group.sources[place],)
    return Group(
        group.prompt,
        (group.responses[place],),
        sources=sources,
        id=group.id,
        extra={**group.extra, **extra},
    )
