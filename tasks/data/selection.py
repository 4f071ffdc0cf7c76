"""Some of a group's responses, with everything that is noted of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.data.groups import Group

PER_RESPONSE = ("tokens", "ended", "ids")
"""Notes in `extra` that hold one value per response; the sampler writes them."""


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
