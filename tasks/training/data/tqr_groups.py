"""The groups that a TQR learns from: with an order, or the one response that is imitated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.data.groups import Group
from tasks.data.selection import keep_responses
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tqr.endings import require_irl
from tasks.settings.log import Log
from tasks.training.data.selection import Encoder
from tasks.training.methods.method import require_scores


class TqrGroups:
    """What a TQR trains on of some groups, and how much is left out; the same for each arm.

    A text that a group has twice is neither better nor worse than itself: it is read once. A sample
    that ended at once has no place with two actions, and is left out; such a response that somebody
    wrote is refused by `TqrEncoder`.
    """

    def __init__(self, groups: Iterable[Group], objective: str) -> None:
        """Say what to read and for which objective; nothing is read yet."""
        self._groups, self._objective = groups, objective
        self.counts = dict.fromkeys(("empty", "identical", "left_out"), 0)
        """Responses without text and those that are there already; groups without an order."""
        self.named: str | None = None
        """The first group that lost something."""

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups to train on.

        Raises:
            ConfigError: A group lacks scores, or the second response of a pair.
            RecordError: A line is no group.
        """
        self.counts = dict.fromkeys(self.counts, 0)
        for group in self._groups:
            before = dict(self.counts)
            found = self._imitated(group) if self._objective == "ava_d" else self._pairs(group)
            if found is None:
                self.counts["left_out"] += 1
            else:
                yield found
            if self.counts != before and self.named is None:
                self.named = group.title

    def note(self, log: Log) -> None:
        """Say what was left out of what has been read, and name a group."""
        left = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        if self.named is not None:
            log.note(
                f"not everything teaches {self._objective}: {left} (responses without text, texts "
                f"that a group has twice, groups without two scores then), first {self.named}"
            )

    def _imitated(self, group: Group) -> Group | None:
        """The demonstration, or the best response."""
        best = 0
        if len(group.responses) > 1:
            scores = require_scores(group, self._objective)
            if min(scores) == max(scores):
                return None
            best = scores.index(max(scores))
        kept = keep_responses(group, [best] if group.responses else [])
        return self._with_texts(kept) if kept.responses else kept

    def _pairs(self, group: Group) -> Group | None:
        """The responses with different texts, if two scores of theirs differ."""
        require_scores(group, self._objective, at_least=2)
        found = self._with_texts(group)
        if found is None:
            return None
        texts = [text.strip() for text in found.responses]
        first = [place for place, text in enumerate(texts) if text not in texts[:place]]
        self.counts["identical"] += len(texts) - len(first)
        found = keep_responses(found, first)
        return found if len(set(found.scores or ())) > 1 else None

    def _with_texts(self, group: Group) -> Group | None:
        """The responses that say something, if they are samples; None where none does."""
        if "ended" not in group.extra:
            return group
        places = [place for place, text in enumerate(group.responses) if text.strip()]
        self.counts["empty"] += len(group.responses) - len(places)
        return keep_responses(group, places) if places else None


class TqrEncoder(Encoder):
    """How a TQR reads the groups that it learns from: every response has two actions."""

    def encode(self, group: Group) -> EncodedGroup:
        """Return the token ids of a group; raises as `encode_group` and `require_irl`."""
        encoded = super().encode(group)
        require_irl(encoded, group.title, self.tokenizer.eos_token_id)
        return encoded
