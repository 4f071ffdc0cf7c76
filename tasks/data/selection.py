"""Part of what there is: some groups of many, and some of a group's responses."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tasks.data.groups import Group, text_hash

PER_RESPONSE = ("tokens", "ended", "ids")
"""Notes in `extra` that hold one value per response; the sampler writes them."""


def sample_place(identity: str, *responses: str, seed: int = 0) -> str:
    """Return what decides whether something is in a sample: the lowest places are taken first."""
    return text_hash(str(seed), identity, *responses)


def sampled(groups: Iterable[Group], most: int | None, seed: int = 0) -> Iterator[Group]:
    """Yield so many of the groups in their order: those whose id and responses hash lowest.

    The beginning of a file is no sample of it: IMDB's reviews are sorted by label. A smaller part
    is within every larger one, so that what was measured on both can be compared.

    Args:
        groups: All there are; `most` of them are held in memory.
        most: How many to keep, at least 1; None keeps all, and holds none.
        seed: Another seed is another part.

    Example:
        >>> from tasks.data.groups import Message
        >>> asked = [Group((Message("user", name),)) for name in "abcdef"]
        >>> ["".join(one.prompt[0].content for one in sampled(asked, n)) for n in (2, 4)]
        ['be', 'bcef']
    """
    if most is None:
        yield from groups
        return
    places = (
        (sample_place(group.id, *group.responses, seed=seed), number, group)
        for number, group in enumerate(groups)
    )
    kept = heapq.nsmallest(most, places)
    yield from (group for _, _, group in sorted(kept, key=lambda entry: entry[1]))


def keep_responses(group: Group, columns: Sequence[int]) -> Group:
    """Return the group with only these responses, in this order, and what is noted of each.

    Args:
        group: A group of K responses; it is not changed.
        columns: Which of its responses to keep, each in [0, K).

    Example:
        >>> keep_responses(Group((), ("a", "b"), (1.0, 2.0)), [1]).responses
        ('b',)
    """
    notes = {
        name: [group.extra[name][k] for k in columns]
        for name in PER_RESPONSE
        if name in group.extra
    }
    return replace(
        group,
        responses=tuple(group.responses[k] for k in columns),
        scores=None if group.scores is None else tuple(group.scores[k] for k in columns),
        sources=None if group.sources is None else tuple(group.sources[k] for k in columns),
        extra={**group.extra, **notes},
    )
