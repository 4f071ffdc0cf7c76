"""The one data record of the project: a prompt with K responses and, where known, their scores.

A preference pair is K = 2 with scores (1, 0) and the chosen response in column 0; a demonstration
is K = 1; a bare query is K = 0; scored samples of a policy are K = S with reward-model scores.

The two hashes below decide what counts as "the same prompt" everywhere: splits, leak checks, joins.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.settings.errors import RecordError
from tasks.settings.printable import excerpt

ROLES = ("system", "user", "assistant")
FIELDS = frozenset({"prompt", "responses", "scores", "sources", "id", "extra"})
"""The fields of a group as JSON."""


class Message(NamedTuple):
    """One turn of a dialogue."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """The text of the turn, without any template around it."""


Prompt = tuple[Message, ...]


def text_of(prompt: Prompt) -> str:
    """Return a conversation as people and judges read it, a paragraph per turn."""
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{names[turn.role]}: {turn.content}" for turn in prompt)


def normalise(text: str) -> str:
    """Return what two texts must share to be the same: NFC, every run of white space one space.

    Example:
        >>> normalise("  a   b ")
        'a b'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_hash(*parts: str) -> str:
    """Return the first 32 hex digits of the sha256 of the parts, in order, unambiguously joined."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    joined = b"".join([b"%d:%b" % (len(data), data) for data in encoded])
    return hashlib.sha256(joined).hexdigest()[:32]


def prompt_hash(prompt: Prompt) -> str:
    """Return the identity of a prompt, 32 hex digits: all its turns and their roles, normalised."""
    return text_hash(*(part for role, content in prompt for part in (role, normalise(content))))


def first_turn_hash(prompt: Prompt) -> str:
    """Return the identity of the first user turn, 32 hex digits: the unit in which data is split.

    A dialogue and its continuations share it, so they can never straddle two splits. A prompt
    without a user turn is identified by its first message.
    """
    for role, content in prompt:
        if role == "user":
            return text_hash("first", normalise(content))
    return text_hash("first", normalise(prompt[0].content) if prompt else "")


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt and its K responses (K may be 0).

    Raises:
        RecordError: A role is unknown, a score is not finite, or scores or sources do not match the
            responses in number.
    """

    prompt: Prompt
    """The dialogue up to the response."""
    responses: tuple[str, ...] = ()
    """K texts; in a pair the chosen one comes first."""
    scores: tuple[float, ...] | None = None
    """K finite scores, larger is better, or None where nobody scored."""
    sources: tuple[str, ...] | None = None
    """Who wrote each response: `human`, `gold`, `policy`, a model's name."""
    id: str = ""
    """Which query this is; the prompt's hash unless given."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Small JSON values that travel along, such as the row's own name in its source."""

    def __post_init__(self) -> None:
        """Check the record and fill in its id."""
        for role, _ in self.prompt:
            if role not in ROLES:
                raise RecordError(f"unknown role {role!r:.40}; known roles: {', '.join(ROLES)}")
        for name, values in (("scores", self.scores), ("sources", self.sources)):
            if values is not None and len(values) != len(self.responses):
                raise RecordError(f"{len(values)} {name} for {len(self.responses)} responses")
        if self.scores is not None and not all(map(math.isfinite, self.scores)):
            raise RecordError(f"scores must be finite numbers, got {list(self.scores)}")
        if not self.id:
            object.__setattr__(self, "id", prompt_hash(self.prompt))

    @property
    def title(self) -> str:
        """The id with a few words of the last turn, for messages: a hash alone names nothing."""
        texts = [message.content for message in self.prompt[-1:]] or [*self.responses[:1], ""]
        return f"{self.id} {excerpt(texts[0])}"

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, which `from_json` takes; what is absent is left out."""
        tree: dict[str, Any] = {
            "id": self.id,
            "prompt": [{"role": role, "content": content} for role, content in self.prompt],
            "responses": list(self.responses),
        }
        if self.scores is not None:
            tree["scores"] = list(self.scores)
        if self.sources is not None:
            tree["sources"] = list(self.sources)
        if self.extra:
            tree["extra"] = dict(self.extra)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Group:
        """Build a group from what `to_json` returned.

        Raises:
            RecordError: A field is missing, unknown or of the wrong type.
        """
        unknown = set(tree) - FIELDS
        if unknown:
            raise RecordError(f"unknown field {min(unknown)!r:.40} in a group")
        try:
            prompt = tuple(Message(_text(m["role"]), _text(m["content"])) for m in tree["prompt"])
            responses = tuple(_text(response) for response in tree["responses"])
            scores = None if tree.get("scores") is None else tuple(map(float, tree["scores"]))
            sources = None if tree.get("sources") is None else tuple(map(_text, tree["sources"]))
            identity, extra = _text(tree.get("id", "")), dict(tree.get("extra", {}))
        except KeyError as error:
            raise RecordError(f"a group needs the field {error.args[0]!r}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(f"not a group: {error}") from error
        return cls(prompt, responses, scores, sources, identity, extra)


def scores_of(group: Group) -> tuple[float, ...]:
    """Return the scores of a group that must have been scored.

    Raises:
        RecordError: Nobody scored the group.
    """
    if group.scores is None:
        raise RecordError(f"group {group.title} has no scores: score its responses first")
    return group.scores


def finished(group: Group) -> tuple[bool, ...]:
    """Say of each response whether its writer ended it, or a length limit cut it off.

    The sampler notes this in `extra["ended"]`; responses of people and files count as ended.

    Raises:
        RecordError: The note does not match the responses in number.
    """
    ended = group.extra.get("ended", [True] * len(group.responses))
    if len(ended) != len(group.responses):
        raise RecordError(f"{len(ended)} `ended` notes for {len(group.responses)} responses")
    return tuple(map(bool, ended))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RecordError(f"expected a text, got {type(value).__name__}")
    return value
