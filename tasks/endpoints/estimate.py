"""What requests to a server will cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tasks.endpoints.chat_request import ChatRequest
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget, Charge, dollars_text

_BYTES_PER_TOKEN = 4
"""Of English, roughly."""
_USED_SHARE = 0.5
"""Share of the limit that an answer is guessed to take where none is known."""


class Estimate(NamedTuple):
    """What is still to ask, and what it costs."""

    queries: int
    """Requests, as many as are distinct."""
    known: int
    """Those that the ledger has the answers to, cut off or whole."""
    likely: Charge
    """A guess at the rest, if no call fails: a token per four bytes, answers as long as earlier
    ones of the same model."""
    worst: Charge
    """The rest at the most that a call each can take; failures that are billed come on top."""
    budget: Budget
    """What may be spent; it holds whatever happens."""
    unit: str = "queries"
    """What a request is called, in the plural."""

    @property
    def requests(self) -> int:
        """How many requests are to be sent, if none fails."""
        return self.queries - self.known

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "queries": self.queries,
            "known": self.known,
            "requests": self.requests,
            "likely": self.likely._asdict(),
            "worst": self.worst._asdict(),
            "budget": self.budget.model_dump(),
        }

    def sentence(self) -> str:
        """Return it for people."""
        text = f"{self.queries:,} {self.unit}, {self.known:,} of them answered in the ledger"
        if not self.requests:
            return f"{text}: nothing is to pay"
        text = (
            f"{text}; {self.requests:,} requests for about {dollars_text(self.likely.dollars)} "
            f"({self.likely.tokens:,} tokens), at most {dollars_text(self.worst.dollars)} "
            f"({self.worst.tokens:,} tokens) if none is repeated"
        )
        if not (caps := self.budget.text):
            return text
        short = (
            ""
            if self.budget.admits(Charge(), self.likely)
            else ": it will not reach for all, and the run stops there, with exit code 4, until "
            "it is resumed with more"
        )
        return f"{text}; the budget is {caps}{short}"


def estimate_requests(
    endpoint: EndpointConfig,
    requests: Iterable[ChatRequest],
    ledger: Ledger,
    unit: str = "queries",
) -> Estimate:
    """Say what the answers to requests will cost; the ledger's are free.

    Args:
        endpoint: The server, its model and its price.
        requests: What is to be asked; the same request is asked once.
        ledger: What is known already.
        unit: What a request is called, in the plural.
    """
    asked = list(requests)
    keys = {request.key(endpoint.model): request for request in asked}
    answers = ledger.answers(list(keys))
    usual = _usual_length(endpoint.model, ledger)
    likely = worst = Charge()
    for key, request in keys.items():
        if key not in answers:
            size = sum(len(content.encode()) for _, content in request.messages)
            length = round(min(request.max_tokens, usual or _USED_SHARE * request.max_tokens))
            likely += endpoint.price.charge(size // _BYTES_PER_TOKEN, length)
            worst += endpoint.price.charge(*request.worst_tokens())
    known = sum(request.key(endpoint.model) in answers for request in asked)
    return Estimate(len(asked), known, likely, worst, endpoint.budget, unit)


def _usual_length(model: str, ledger: Ledger) -> float | None:
    """Return how long an answer of a model usually is, tokens; None where none is known."""
    answers = ledger.answers([one.key for one in ledger.entries() if one.model == model])
    lengths = [answer.tokens for answer in answers.values() if answer.tokens is not None]
    return sum(lengths) / len(lengths) if lengths else None
