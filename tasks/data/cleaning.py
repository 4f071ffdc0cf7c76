"""What no training can learn from leaves the data: empty, identical, tied and repeated records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tasks.data.groups import Group, normalise, text_hash


class Cleaner:
    """Drops what is useless and counts why; remembers 16 bytes per record to find repetitions.

    Example:
        >>> from tasks.data.groups import Message
        >>> cleaner = Cleaner(needs=2)
        >>> pair = Group((Message("user", "hi"),), ("same", "same "), (1.0, 0.0))
        >>> list(cleaner.clean([pair])), dict(cleaner.dropped)
        ([], {'identical': 1})
    """

    def __init__(self, needs: int) -> None:
        """Start with nothing seen.

        Args:
            needs: 2 for preferences (responses that differ in score), 1 for demonstrations (the
                first response is kept), 0 for queries (one golden response may be kept).
        """
        self.needs = needs
        self.dropped: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    def clean(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Yield the useful groups in the form this cleaner's purpose needs, in order, streaming."""
        for group in groups:
            kept = self._shaped(group)
            if isinstance(kept, Group):
                kept = self._reason(kept) or kept
            if isinstance(kept, str):
                self.dropped[kept] += 1
            else:
                yield kept

    def _shaped(self, group: Group) -> Group | str:
        if self.needs == 2:
            return _comparable(group)
        if self.needs == 1:
            if not group.responses or not group.responses[0].strip():
                return "empty"
            return _first(group)
        if len(group.responses) == 1 and group.responses[0].strip():
            return group
        return replace(group, responses=(), scores=None, sources=None)

    def _reason(self, group: Group) -> str:
        if not any(message.content.strip() for message in group.prompt):
            return "empty"
        # A query is its prompt: a second golden response for it would be a second query.
        parts = group.responses if self.needs else ()
        digest = bytes.fromhex(text_hash(group.id, *map(normalise, parts), repr(group.scores)))
        if digest in self._seen:
            return "duplicate"
        self._seen.add(digest)
        return ""


def _first(group: Group) -> Group:
    return replace(
        group,
        responses=group.responses[:1],
        scores=None,
        sources=group.sources and group.sources[:1],
    )


def _comparable(group: Group) -> Group | str:
    """Return the group without empty and repeated responses, or why it compares nothing."""
    if len(group.responses) < 2 or group.scores is None:
        return "no_comparison"
    texts = [normalise(response) for response in group.responses]
    keep = [k for k, text in enumerate(texts) if text and text not in texts[:k]]
    if len(keep) < 2:
        return "identical" if all(texts) else "empty"
    if len({group.scores[k] for k in keep}) < 2:
        return "tied"
    if len(keep) == len(texts):
        return group
    return replace(
        group,
        responses=tuple(group.responses[k] for k in keep),
        scores=tuple(group.scores[k] for k in keep),
        sources=group.sources and tuple(group.sources[k] for k in keep),
    )
