"""A judge's verdict on two answers, asked in both orders; what cannot be read counts as nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from tasks.data.groups import Message, Prompt, text_of
from tasks.evaluation.judging.judge_questions import Question, Verdict
from tasks.storage.digests import canonical_json

Outcome = Literal["win", "lose", "tie", "invalid"]
"""What came of a pair for the first answer's side."""
_SWAPPED: Mapping[Verdict, Verdict] = {"A": "B", "B": "A", "tie": "tie"}
_OUTCOMES: Mapping[Verdict, Outcome] = {"A": "win", "B": "lose", "tie": "tie"}


class Pair(NamedTuple):
    """Two answers to one prompt."""

    prompt: Prompt
    """What both answer."""
    ours: str
    """The answer whose side wins or loses."""
    theirs: str
    """That of the opponent."""
    reference: str | None = None
    """A golden answer, for questions that show one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of a pair in both orders."""

    outcome: Outcome
    """For our side; invalid where one of the two answers could not be read."""
    said: tuple[Verdict | None, ...]
    """By position: with our answer as A, and with it as B; of people, what each of them said."""
    votes: tuple[tuple[str, Outcome], ...] = ()
    """What each of several people came to, by their names; empty for a language model."""
    alone: Outcome | None = None
    """What it was before a cross-check; None without one."""
    second: Outcome | None = None
    """What the cross-check came to."""

    @property
    def split(self) -> bool:
        """Whether it is a tie because no answer of several people is that of more than half."""
        counts = Counter(vote for _, vote in self.votes)
        return bool(counts) and 2 * max(counts.values()) <= len(self.votes)

    @property
    def flipped(self) -> bool:
        """Whether it chose the same position twice, so that the order decided."""
        return not self.votes and self.said in (("A", "A"), ("B", "B"))


def cross_checked(judgement: Judgement, second: Outcome) -> Judgement:
    """Return a judgement that holds only as far as a second opinion is the same.

    Example:
        >>> cross_checked(Judgement("win", ("A", "B")), "lose").outcome
        'tie'
    """
    outcome: Outcome = judgement.outcome
    if "invalid" in (outcome, second):
        outcome = "invalid"
    elif outcome != second:
        outcome = "tie"
    return replace(judgement, outcome=outcome, alone=judgement.outcome, second=second)


def calls_of(question: Question, pair: Pair) -> tuple[list[Message], list[Message]]:
    """Return the messages that ask about a pair: with our answer first, and with it second.

    The same pair is asked in the same words every time, so that a paid answer is found again.
    """

    def ask(first: str, second: str) -> list[Message]:
        nonce = nonce_of(question.name, text_of(pair.prompt), first, second)
        return question.ask(pair.prompt, first, second, nonce, pair.reference)

    return ask(pair.ours, pair.theirs), ask(pair.theirs, pair.ours)


def nonce_of(*texts: str) -> str:
    """Return a word that stands around texts: nobody who wrote one of them could know it.

    It is a digest of all of them, so another text would be around another word.

    Example:
        >>> nonce_of("what?", "this", "that")
        'text-bd40a3bef33ac9e7'
    """
    return "text-" + hashlib.sha256(canonical_json(list(texts))).hexdigest()[:16]


def judge(question: Question, answers: Sequence[str | None]) -> Judgement:
    """Return the judgement of a pair from the answers to its two calls, in their order.

    A verdict that depends on the order, or is a tie in one of them, is a tie.

    Args:
        question: What was asked.
        answers: The judge's own words; None where it never answered.

    Example:
        >>> from tasks.evaluation.judging.judge_questions import get_question
        >>> dialogue = get_question("dialogue")
        >>> judge(dialogue, ["More helpful: A", "More helpful: B"]).outcome
        'win'
        >>> judge(dialogue, ["More helpful: A", "More helpful: A"]).outcome
        'tie'
        >>> judge(dialogue, ["More helpful: A", "They are both good."]).outcome
        'invalid'
    """
    straight, swapped = (None if answer is None else question.read(answer) for answer in answers)
    if straight is None or swapped is None:
        return Judgement("invalid", (straight, swapped))
    agreed = straight if straight == _SWAPPED[swapped] else "tie"
    return Judgement(_OUTCOMES[agreed], (straight, swapped))
