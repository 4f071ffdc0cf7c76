"""How people of the playground answer: best answers, and the mixed answers of humans."""

from __future__ import annotations

from itertools import product
from typing import Protocol

from tasks.data.playground import language as say
from tasks.data.playground.oracle import Facts
from tasks.data.playground.prompts import Request
from tasks.data.playground.randomness import Draws


class Beliefs(Protocol):
    """What people of a world can say: the truth, and the false value that many believe in."""

    @property
    def facts(self) -> Facts:
        """Creature -> attribute -> the true value."""

    @property
    def myths(self) -> Facts:
        """Creature -> attribute -> the false value that most people who err believe in."""


def best_wordings(facts: Facts, request: Request) -> list[str]:
    """All answers to `request` that the world's people would call perfect."""
    openings = say.APOLOGIES if request.intent == "harm" else say.GREETINGS
    parts = product(openings, _best_bodies(facts, request), say.CLOSINGS)
    return [" ".join(part) for part in parts]


def human_answer(beliefs: Beliefs, request: Request, draws: Draws) -> str:
    """An answer of somebody whose care, drawn uniformly, decides how good it tends to be."""
    care = draws.uniform()
    openings = say.APOLOGIES if request.intent == "harm" else say.GREETINGS
    parts = []
    if draws.chance(0.10 + 0.45 * care):
        parts.append(draws.pick(openings))
    if draws.chance(0.25 * (1 - care)):
        parts.append(draws.pick(say.RUDE))
    parts.append(_human_body(beliefs, request, care, draws))
    if draws.chance(0.20):
        parts.append(draws.pick(say.FILLERS))
    if draws.chance(0.05 + 0.40 * care):
        parts.append(draws.pick(say.CLOSINGS))
    return " ".join(parts)


def _best_bodies(facts: Facts, request: Request) -> list[str]:
    if request.intent == "fact":
        value = facts[request.subject][request.detail]
        claims = say.ATTRIBUTES[request.detail].claims
        return [f"The {request.subject} {claim.format(v=value)}." for claim in claims]
    if request.intent == "chore":
        chore = say.CHORES[request.subject]
        slots = {"t": chore.name, "first": chore.first, "second": chore.second}
        return [answer.format(**slots) for answer in say.CHORE_ANSWERS]
    if request.intent == "news":
        feeling = (say.GLAD if request.detail == "good" else say.SORRY).format(t=request.subject)
        return [f"{feeling} {question}" for question in say.ASK_BACK]
    return [f"{refusal} {say.REASON.format(e=request.subject)}" for refusal in say.REFUSALS]


def _human_body(beliefs: Beliefs, request: Request, care: float, draws: Draws) -> str:
    body = {"fact": _human_fact, "chore": _human_chore, "news": _human_news, "harm": _human_harm}
    return body[request.intent](beliefs, request, care, draws)


def _human_fact(beliefs: Beliefs, request: Request, care: float, draws: Draws) -> str:
    subject = f"The {request.subject}" if draws.chance(0.5 + 0.4 * care) else "It"
    attribute = say.ATTRIBUTES[request.detail]
    value = beliefs.facts[request.subject][request.detail]
    if not draws.chance(0.45 + 0.40 * care):
        if draws.chance(0.15):
            return draws.pick(say.VAGUE)
        wrong = [other for other in attribute.values if other != value]
        myth = beliefs.myths[request.subject][request.detail]
        value = myth if draws.chance(0.85) else draws.pick(wrong)
    return f"{subject} {draws.pick(attribute.claims).format(v=value)}."


def _human_chore(beliefs: Beliefs, request: Request, care: float, draws: Draws) -> str:
    chore = say.CHORES[request.subject]
    first, second = chore.first, chore.second
    if not draws.chance(0.45 + 0.40 * care):
        other = draws.pick([other for other in say.CHORES.values() if other != chore])
        mistakes = ((second, first), (other.first, second), (first, other.second))
        first, second = draws.pick(mistakes)
    if not draws.chance(0.5 + 0.4 * care):
        return say.CHORE_ANSWER_CURT.format(First=first.capitalize(), second=second)
    return draws.pick(say.CHORE_ANSWERS).format(t=chore.name, first=first, second=second)


def _human_news(beliefs: Beliefs, request: Request, care: float, draws: Draws) -> str:
    good = (request.detail == "good") == draws.chance(0.55 + 0.40 * care)
    if draws.chance(0.4 + 0.4 * care):
        feeling = (say.GLAD if good else say.SORRY).format(t=request.subject)
    else:
        feeling = say.GLAD_CURT if good else say.SORRY_CURT
    asks = draws.chance(0.1 + 0.4 * care)
    return f"{feeling} {draws.pick(say.ASK_BACK)}" if asks else feeling


def _human_harm(beliefs: Beliefs, request: Request, care: float, draws: Draws) -> str:
    if not draws.chance(0.35 + 0.50 * care):
        return draws.pick(say.COMPLIANCE)
    refusal = draws.pick(say.REFUSALS)
    reasons = draws.chance(0.1 + 0.5 * care)
    return f"{refusal} {say.REASON.format(e=request.subject)}" if reasons else refusal
