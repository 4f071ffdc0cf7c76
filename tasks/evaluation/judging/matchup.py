"""Two policies' answers to the same prompts, judged pair by pair, and what was said of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.selection import sampled
from tasks.endpoints.answers import Answer
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.ledger import Account, Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.judge_questions import history_of
from tasks.evaluation.judging.rates import VerdictRates, verdict_rates
from tasks.evaluation.judging.verdicts import Judgement, Pair, calls_of, judge
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_json, write_lines
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace

VERDICTS, RATES = "verdicts.jsonl", "verdicts.json"
"""What a matchup leaves: a line per pair, and what they come to."""


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
        return {
            "id": self.id,
            "prompt": history_of(self.pair.prompt),
            "ours": self.pair.ours,
            "theirs": self.pair.theirs,
            "reference": self.pair.reference,
            "outcome": self.judgement.outcome,
            "flipped": self.judgement.flipped,
            "said": list(self.judgement.said),
            "answers": list(self.answers),
            "problems": list(self.problems),
        }


def matched_pairs(
    ours: Iterable[Group],
    theirs: Iterable[Group],
    most: int | None,
    references: Iterable[Group] = (),
) -> dict[str, Pair]:
    """Pair two sides' first answers to the prompts that both answered, a sample of them.

    Args:
        ours: Groups with at least one response.
        theirs: Those of the opponent; other prompts are left out.
        most: At most so many pairs, the same prompts whoever plays; None for all.
        references: Groups whose first response is golden.

    Returns:
        The pairs by the prompt's id, in the order of ours.

    Raises:
        ConfigError: They share no prompt.
    """
    others = {group.id: group for group in theirs if group.responses}
    golden = {group.id: group.responses[0] for group in references if group.responses}
    shared = [group for group in ours if group.responses and group.id in others]
    if not shared:
        raise ConfigError(
            "the two sides answered no prompt in common: judge samples that were drawn for the "
            "same prompts"
        )
    asked = [Group(prompt=group.prompt, id=group.id) for group in shared]
    chosen = {group.id for group in sampled(asked, most)}
    return {
        group.id: Pair(
            group.prompt, group.responses[0], others[group.id].responses[0], golden.get(group.id)
        )
        for group in shared
        if group.id in chosen
    }


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
    question = config.asked
    asked = {name: pair for name, pair in pairs.items() if pair.ours != pair.theirs}
    if question.wants_reference:
        _require_references(asked, question.name)
    requests = [
        ChatRequest(
            f"{name} {number}",
            tuple((message.role, message.content) for message in messages),
            config.max_tokens,
            config.parameters,
        )
        for name, pair in asked.items()
        for number, messages in enumerate(calls_of(question, pair))
    ]
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


def write_matchup(judged: Sequence[Judged], folder: Path, seed: int) -> VerdictRates:
    """Write what was said of every pair and what it comes to; return the latter."""
    lengths = [(len(one.pair.ours), len(one.pair.theirs)) for one in judged]
    found = verdict_rates([one.judgement for one in judged], lengths, seed=seed)
    write_lines(folder / VERDICTS, (canonical_json(one.record()).decode() for one in judged))
    same = sum(one.pair.ours == one.pair.theirs for one in judged)
    write_json(folder / RATES, asdict(found) | {"no_verdict": found.no_verdict, "same_text": same})
    return found


def judge_sides(
    ours: Path,
    theirs: Path | None,
    gold: Path | None,
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
    pairs = read_sides(ours, theirs, config.prompts, gold)
    with PaidCalls(config.endpoint, Ledger(current_home().ledger), account) as calls:
        judged = list(judge_pairs(pairs, config, calls, log))
        costs = calls.tally.metrics()
    found = write_matchup(judged, workspace.output, seed)
    if found.no_verdict:
        log.note(found.no_verdict)
    return found.metrics() | costs


def read_sides(
    ours: Path, theirs: Path | None, most: int | None, gold: Path | None
) -> dict[str, Pair]:
    """Return the pairs of two folders of samples, with the golden answers of a third.

    Without a second folder the first response of each group meets its second.
    """
    others = read_groups(theirs) if theirs else map(_without_first, read_groups(ours))
    return matched_pairs(read_groups(ours), others, most, read_groups(gold) if gold else ())


def _without_first(group: Group) -> Group:
    return Group(prompt=group.prompt, responses=group.responses[1:], id=group.id)


def _require_references(pairs: Mapping[str, Pair], question: str) -> None:
    missing = [name for name, pair in pairs.items() if pair.reference is None]
    if missing:
        raise ConfigError(
            f"the question {question!r} shows a reference answer, and {len(missing)} of "
            f"{len(pairs)} prompts have none: give gold answers to them, or ask another question"
        )
