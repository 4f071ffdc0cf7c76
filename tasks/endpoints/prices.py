"""What calls cost: prices per token, the worst that a call may cost, and the caps.

No list of prices ships with the code: vendors change theirs without a word, and a stale one would
pass a cap that it was to keep. A price is declared where the server is named, 0 for one's own.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from tasks.endpoints.answers import Usage
from tasks.settings.base import FrozenConfig

_MILLION = 1_000_000
_PER_MESSAGE, _PER_PROMPT = 16, 64
"""Tokens that a chat template puts around each message, and before them all, at most."""


class Price(FrozenConfig):
    """What a model costs; 0 and 0 for a server of one's own."""

    prompt: float = Field(ge=0)
    """Dollars per million tokens that the server reads."""
    completion: float = Field(ge=0)
    """Dollars per million tokens that it writes."""

    @property
    def is_free(self) -> bool:
        """Whether nothing is to pay."""
        return self.prompt == self.completion == 0

    def charge(self, prompt_tokens: int, completion_tokens: int) -> Charge:
        """Return what so many tokens cost."""
        dollars = (prompt_tokens * self.prompt + completion_tokens * self.completion) / _MILLION
        return Charge(dollars, prompt_tokens + completion_tokens)

    def reported(self, usage: Usage) -> Charge | None:
        """Return what an answer says that it cost; None where it does not say both numbers."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        return self.charge(usage.prompt_tokens, usage.completion_tokens)


class Budget(FrozenConfig):
    """The most that may be spent; calls whose outcome nobody knows count as spent.

    0 is a cap as any other: nothing of it may be spent. Calls that cost 0 dollars spend none.
    """

    dollars: float | None = Field(default=None, ge=0)
    """Most dollars. Required where the price is not 0."""
    tokens: int | None = Field(default=None, ge=0)
    """Most tokens, read and written together. Default: no cap."""

    @property
    def text(self) -> str:
        """The caps for people; empty without one."""
        caps = [] if self.dollars is None else [dollars_text(self.dollars)]
        caps += [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        return " and ".join(caps)

    def admits(self, spent: Charge, more: Charge) -> bool:
        """Tell whether more may be spent."""
        total = spent + more
        return not (
            (self.dollars is not None and total.dollars > self.dollars)
            or (self.tokens is not None and total.tokens > self.tokens)
        )


class Charge(NamedTuple):
    """What calls cost, or are counted as."""

    dollars: float = 0.0
    """Money."""
    tokens: int = 0
    """Tokens, read and written together."""

    def __add__(self, other: Charge) -> Charge:  # type: ignore[override]  # a tuple's would join
        return Charge(self.dollars + other.dollars, self.tokens + other.tokens)


def most_prompt_tokens(messages: int, text: str) -> int:
    """Return more tokens than any server will count for messages of this text.

    A tokenizer makes no more tokens than a text has bytes, beside what its chat template adds.
    """
    return len(text.encode("utf-8", errors="replace")) + _PER_MESSAGE * messages + _PER_PROMPT


def dollars_text(dollars: float) -> str:
    """Return money for people.

    Example:
        >>> dollars_text(12.3), dollars_text(0.00425), dollars_text(0)
        ('$12.30', '$0.0042', '$0.00')
    """
    return f"${dollars:,.4f}" if 0 < abs(dollars) < 0.1 else f"${dollars:,.2f}"
