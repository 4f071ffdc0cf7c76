"""Pairs of answers judged one by one: what is asked, what was said of each, and what is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.groups import text_of
from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.evaluation.judging.agreement import Scores, agreement, opinions, read_scores
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.pairing import Sides, read_sides, require_references
from tasks.evaluation.judging.rates import VerdictRates, verdict_rates
from tasks.evaluation.judging.verdicts import (
    Judgement,
    Outcome,
    Pair,
    calls_of,
    cross_checked,
    judge,
)
from tasks.evaluation.metrics.estimates import Estimate
from tasks.settings.log import Log
from tasks.storage.digests import canonical_json
from tasks.storage.files import read_lines, write_json, write_lines
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace
from tasks.tracking.remote.opening import open_remote

VERDICTS, RATES = "verdicts.jsonl", "verdicts.json"
"""What a matchup leaves: a line per pair, and what they come to."""


class Matchup(NamedTuple):
    """What the verdicts on all pairs come to."""

    rates: VerdictRates
    """Who won."""
    agreements: Mapping[str, Estimate | None]
    """How often reward models name the same winner, by their name."""

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged."""
        known = {f"agreement/{name}": one.value for name, one in self.agreements.items() if one}
        return self.rates.metrics() | known


class Judged(NamedTuple):
    """A pair with what the judge said of it."""

    id: str
    """The prompt's."""
    pair: Pair
    """What was judged."""
    judgement: Judgement
    """Both orders together."""
    answers: tuple[str | None, str | None]
    """The judge's own words, in the order of `calls_of`; None where there were none."""
    problems: tuple[str, ...]
    """Why, where there were none."""

    def record(self) -> dict[str, Any]:
        """Return it as a line of `verdicts.jsonl`."""
        votes = {"votes": dict(self.judgement.votes)} if self.judgement.votes else {}
        return {
            **votes,
            "id": self.id,
            "prompt": text_of(self.pair.prompt),
            "ours": self.pair.ours,
            "theirs": self.pair.theirs,
            "reference": self.pair.reference,
            "outcome": self.judgement.outcome,
            "flipped": self.judgement.flipped,
            "alone": self.judgement.alone,
            "second": self.judgement.second,
            "said": list(self.judgement.said),
            "answers": list(self.answers),
            "problems": list(self.problems),
        }


def differing(pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    """Return the pairs that somebody must be asked about: not those of the same text twice."""
    return {name: pair for name, pair in pairs.items() if pair.ours != pair.theirs}


def judge_requests(pairs: Mapping[str, Pair], config: JudgeConfig) -> Iterator[ChatRequest]:
    """Yield the two requests about each pair; their ids are `PROMPT 0` and `PROMPT 1`.

    Raises:
        ConfigError: The question shows a reference, and a prompt has none, or a side is these.
    """
    question = config.asked
    if question.wants_reference:
        require_references(pairs, question.name)
    for name, pair in pairs.items():
        for number, messages in enumerate(calls_of(question, pair)):
            yield ChatRequest(
                f"{name} {number}",
                tuple((message.role, message.content) for message in messages),
                config.max_tokens,
                config.parameters,
            )


def judge_pairs(
    pairs: Mapping[str, Pair], config: JudgeConfig, calls: PaidCalls, log: Log
) -> Iterator[Judged]:
    """Ask the judge about every pair in both orders, and yield what came of each.

    Two answers that are the same text are a tie that nobody is asked about.

    Args:
        pairs: By the prompt's id.
        config: The question, and how it is asked.
        calls: Who asks; what was answered once is not paid again.
        log: Where progress goes.

    Raises:
        BudgetExhausted: The budget is used up; what was answered is kept in the ledger.
        ConfigError: The question shows a reference, and a prompt has none.
    """
    question, asked = config.asked, differing(pairs)
    requests = list(judge_requests(asked, config))
    said: dict[str, Answer | Unanswered] = {}
    for request, answer in calls.ask(requests):
        said[request.id] = answer
        log.progress(len(said), len(requests), "verdicts")
    for name, pair in pairs.items():
        if name not in asked:
            yield Judged(name, pair, Judgement("tie", ("tie", "tie")), (None, None), ())
            continue
        both = [said[f"{name} {number}"] for number in range(2)]
        texts = [one.text if isinstance(one, Answer) else None for one in both]
        problems = tuple(one.problem for one in both if isinstance(one, Unanswered))
        yield Judged(name, pair, judge(question, texts), (texts[0], texts[1]), problems)


def write_matchup(
    judged: Sequence[Judged],
    folder: Path,
    seed: int,
    scores: Mapping[str, Scores] | None = None,
) -> Matchup:
    """Write what was said of every pair and what it comes to; return the latter.

    Args:
        judged: The pairs.
        folder: Receives `verdicts.jsonl` and `verdicts.json`.
        seed: Of the intervals.
        scores: What reward models give to both answers, by their name.
    """
    scores = scores or {}
    lengths = [(len(one.pair.ours), len(one.pair.theirs)) for one in judged]
    judgements = [one.judgement for one in judged]
    rates = verdict_rates(judgements, lengths, seed=seed)
    ids = [one.id for one in judged]
    agreements = {name: agreement(ids, judgements, found) for name, found in scores.items()}
    lines = (
        one.record() | {"scores": {name: found.get(one.id) for name, found in scores.items()}}
        for one in judged
    )
    write_lines(folder / VERDICTS, (canonical_json(line).decode() for line in lines))
    facts = {
        "no_verdict": rates.no_verdict,
        "same_text": sum(one.pair.ours == one.pair.theirs for one in judged),
        "split": sum(one.split for one in judgements),
        "agreement": {name: one and asdict(one) for name, one in agreements.items()},
    }
    write_json(folder / RATES, asdict(rates) | facts)
    return Matchup(rates, agreements)


def judge_sides(
    sides: Sides,
    config: JudgeConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
    account: Account,
) -> dict[str, float]:
    """Judge what the stage `judge_responses` is given, and write it down; return its metrics.

    `account` says on whose behalf the judge is paid.

    Raises:
        BudgetExhausted: The budget is used up; what was answered is kept in the ledger.
        ConfigError: The sides share no prompt, or a golden answer or the key is missing.
        StageError: The server does not answer.
    """
    pairs = read_sides(sides, config.prompts)
    scores = read_scores(sides.our_scores, sides.their_scores if sides.theirs else None)
    ledger = Ledger(current_home().ledger, open_remote())
    with PaidCalls(config.endpoint, ledger, account, "judge.endpoint") as calls:
        judged = list(judge_pairs(pairs, config, calls, log))
        costs = calls.tally.metrics()
    if (check := config.cross_check) and check.endpoint:
        # It has a budget of its own.
        payer = account._replace(work=f"second {account.work}")
        with PaidCalls(check.endpoint, ledger, payer, "judge.cross_check.endpoint") as calls:
            second = list(judge_pairs(pairs, config, calls, log))
            taken = calls.tally.metrics()
        costs = {name: value + taken[name] for name, value in costs.items()}
        judged = _cross_checked(judged, {one.id: one.judgement.outcome for one in second})
    elif check:
        judged = _cross_checked(judged, opinions(check.name, scores))
    found = write_matchup(judged, workspace.output, seed, scores)
    if found.rates.no_verdict:
        log.note(found.rates.no_verdict)
    return found.metrics() | costs


def _cross_checked(judged: list[Judged], second: Mapping[str, Outcome]) -> list[Judged]:
    return [
        one._replace(judgement=cross_checked(one.judgement, second.get(one.id, "invalid")))
        for one in judged
    ]


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """Return what was said of every pair, as `write_matchup` wrote it."""
    return [json.loads(line) for line in read_lines(folder / VERDICTS)]
