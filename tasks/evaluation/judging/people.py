"""Pairs of answers judged by people: each seen in an order drawn for it, and undone again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tasks.data.groups import text_hash, text_of
from tasks.evaluation.judging.agreement import read_scores
from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.evaluation.judging.matchup import RATES, Judged, differing, write_matchup
from tasks.evaluation.judging.pairing import Sides, read_sides, require_references
from tasks.evaluation.judging.verdicts import Judgement, Outcome, Pair
from tasks.evaluation.metrics.annotator_agreement import kappa
from tasks.gold.people.asking import Answers, ask
from tasks.gold.people.question import VERDICT, Question
from tasks.settings.log import Log
from tasks.storage.files import read_json, write_json
from tasks.storage.workspace import Workspace

_OUTCOMES: Mapping[tuple[str, bool], Outcome] = {
    ("A", False): "win",
    ("B", False): "lose",
    ("A", True): "lose",
    ("B", True): "win",
    ("tie", False): "tie",
    ("tie", True): "tie",
}


class Shown(NamedTuple):
    """A pair as people see it."""

    question: Question
    """What they are asked."""
    is_swapped: bool
    """Whether our answer is B."""


def shown(name: str, pair: Pair, seed: int) -> Shown:
    """Return a pair in the order that the seed draws for its prompt; the id tells nothing of it.

    Args:
        name: The prompt's id.
        pair: Our answer and theirs.
        seed: The run's.
    """
    is_swapped = int(text_hash(f"order {seed}", name), 16) % 2 == 1
    first, second = (pair.theirs, pair.ours) if is_swapped else (pair.ours, pair.theirs)
    identity = text_hash(name, first, second, pair.reference or "")[:16]
    asked = Question(identity, text_of(pair.prompt), first, second, pair.reference)
    return Shown(asked, is_swapped)


def judgement_of(one: Shown, said: Mapping[str, str]) -> Judgement:
    """Return what people come to: what more than half of them say, else a tie.

    Args:
        one: The pair as they saw it.
        said: What each of them said; nobody's verdict is invalid.
    """
    votes = tuple((who, _OUTCOMES[choice, one.is_swapped]) for who, choice in sorted(said.items()))
    counts = Counter(vote for _, vote in votes)
    outcome: Outcome = "tie" if votes else "invalid"
    for vote, count in counts.items():
        if 2 * count > len(votes):
            outcome = vote
    positions = tuple(said[who] for who in sorted(said))
    return Judgement(outcome, positions, votes)  # type: ignore[arg-type]


def judge_by_people_of(
    sides: Sides,
    config: HumanEvaluationConfig,
    match: str,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Do what the stage `judge_by_people` is given, and write it down; return its metrics.

    Raises:
        Awaited: Too few have judged so far.
        ConfigError: The sides share no prompt, a golden answer is missing, or a side is these.
    """
    pairs = read_sides(sides, config.prompts)
    asked = {name: shown(name, pair, seed) for name, pair in differing(pairs).items()}
    if config.wants_reference:
        require_references(differing(pairs), config.question)
    told = config.model_copy(update={"instructions": config.told})
    questions = [one.question for one in asked.values()]
    found = ask(match, VERDICT, questions, told, workspace.path.parent.name, log)
    said = _by_question(found)
    judged = [
        Judged(name, pair, _judgement(asked.get(name), said), (None, None), ())
        for name, pair in pairs.items()
    ]
    scores = read_scores(sides.our_scores, sides.their_scores if sides.theirs else None)
    match_found = write_matchup(judged, workspace.output, seed, scores)
    found.write(workspace.output)
    agreed = kappa({one.id: dict(one.judgement.votes) for one in judged})
    path = workspace.output / RATES
    facts = {"by": "people", "kappa": agreed._asdict() if agreed else None}
    write_json(path, read_json(path) | facts)
    metrics = match_found.metrics() | {"people": found.metrics()["people"]}
    metrics.pop("flipped", None)
    if not match_found.rates.no_verdict:
        split = sum(one.judgement.split for one in judged)
        metrics["split"] = split / match_found.rates.valid
    return metrics | ({"kappa": agreed.value} if agreed else {})


def _judgement(one: Shown | None, said: Mapping[str, Mapping[str, str]]) -> Judgement:
    if one is None:
        return Judgement("tie", ())  # the same text twice, which nobody is asked about
    return judgement_of(one, said.get(one.question.id, {}))


def _by_question(found: Answers) -> dict[str, dict[str, str]]:
    said: dict[str, dict[str, str]] = {}
    for one in found.used:
        said.setdefault(one.question, {})[one.person] = one.answer
    return said
