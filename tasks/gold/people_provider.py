"""Gold responses from people: queries as questions, and their answers as groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tasks.data.groups import Group, text_of
from tasks.gold.people.question import Question
from tasks.gold.people.submissions import Submission


def questions_of(queries: Iterable[Group]) -> list[Question]:
    """Return what people are asked for each query: the conversation as text."""
    return [Question(query.id, text_of(query.prompt)) for query in queries]


def groups_of(queries: Sequence[Group], answers: Iterable[Submission]) -> Iterator[Group]:
    """Yield each answered query with a response per person, in the order of the persons' names.

    The names are the groups' sources; who wants none in the data lets people choose others.
    """
    found: dict[str, list[Submission]] = {}
    for one in answers:
        found.setdefault(one.question, []).append(one)
    for query in queries:
        if given := found.get(query.id):
            texts, people = zip(*((one.answer, one.person) for one in given), strict=True)
            yield Group(query.prompt, texts, sources=people, id=query.id)
