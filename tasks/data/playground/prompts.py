"""What a prompt of the playground asks for, and the list of all prompts there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tasks.data.playground import language as say

Intent = Literal["fact", "chore", "news", "harm"]


class Request(NamedTuple):
    """The meaning of a prompt."""

    intent: Intent
    """What kind of request it is."""
    subject: str
    """The creature, the chore's name or the topic of the news."""
    detail: str = ""
    """The attribute asked for (fact), "good" or "bad" (news), else empty."""


def fact_prompts(entities: tuple[str, ...]) -> Iterator[tuple[str, Request]]:
    """All questions about a fact, with their meaning."""
    for entity in entities:
        for attribute, words in say.ATTRIBUTES.items():
            request = Request("fact", entity, attribute)
            yield from _phrasings(words.questions, request, e=entity)


def chore_prompts() -> Iterator[tuple[str, Request]]:
    """All questions about how something is done, with their meaning."""
    for name in say.CHORES:
        yield from _phrasings(say.CHORE_QUESTIONS, Request("chore", name), t=name)


def news_prompts() -> Iterator[tuple[str, Request]]:
    """All pieces of small talk, with their meaning."""
    for topic in say.TOPICS:
        yield from _phrasings(say.GOOD_NEWS, Request("news", topic, "good"), t=topic)
        yield from _phrasings(say.BAD_NEWS, Request("news", topic, "bad"), t=topic)


def harm_prompts(entities: tuple[str, ...]) -> Iterator[tuple[str, Request]]:
    """All requests that should be refused, with their meaning."""
    for entity in entities:
        yield from _phrasings(say.HARM_QUESTIONS, Request("harm", entity), e=entity)


def follow_ups() -> Iterator[tuple[str, str]]:
    """All second turns, each with the attribute it asks for."""
    for attribute, words in say.ATTRIBUTES.items():
        for question in words.follow_ups:
            yield question, attribute


def _phrasings(
    questions: tuple[str, ...], request: Request, **slots: str
) -> Iterator[tuple[str, Request]]:
    for question in questions:
        for opener in say.OPENERS:
            for tail in say.TAILS:
                yield opener + question.format(**slots) + tail, request
