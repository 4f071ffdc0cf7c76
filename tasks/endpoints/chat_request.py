"""A request for a chat completion: what makes it the same one, what it may take, how it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.endpoints.answers import Outcome
from tasks.endpoints.prices import most_prompt_tokens
from tasks.storage.digests import sha256_json


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation that a model is to go on with."""

    id: str
    """The caller's name of it; not part of what is paid for."""
    messages: tuple[tuple[str, str], ...]
    """Role and content of each turn; roles are `system`, `user`, `assistant`."""
    max_tokens: int
    """Most tokens of the answer."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What else the request says, such as `temperature`: plain values."""
    sample: int = 0
    """Number of this answer among several to the same request."""

    def key(self, model: str) -> str:
        """Return the digest by which an answer of a model is known to be this request's."""
        parameters = {**self.parameters, "max_tokens": self.max_tokens}
        return sha256_json([model, parameters, list(self.messages), self.sample])

    def worst_tokens(self) -> tuple[int, int]:
        """Return more tokens than it can take: to read, and to write."""
        text = "".join(role + content for role, content in self.messages)
        return most_prompt_tokens(len(self.messages), text), self.max_tokens

    def body(self, model: str, limit_key: str) -> dict[str, Any]:
        """Return what is sent; `limit_key` is what the server calls the limit of tokens."""
        messages = [{"role": role, "content": content} for role, content in self.messages]
        own = {"model": model, "messages": messages, limit_key: self.max_tokens}
        return {**self.parameters, **own}


class Unanswered(NamedTuple):
    """A request that brought no usable answer; another run asks it again unless it was cut off."""

    outcome: Outcome
    """Why not, by name."""
    problem: str
    """Why not, for people."""
    body: str
    """What came instead, as it came; empty if nothing did, or it came long ago."""
    text: str = ""
    """The beginning of an answer that was cut off long ago."""
