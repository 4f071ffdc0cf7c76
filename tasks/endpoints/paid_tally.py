"""How the asking of a paid server goes, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.endpoints.answers import Outcome
from tasks.endpoints.prices import Charge


@dataclass(slots=True)
class Tally:
    """How the asking went so far."""

    sent: int = 0
    """Requests that went out, repetitions included."""
    answered: int = 0
    """Requests answered by them."""
    cached: int = 0
    """Requests that the ledger had the answers to."""
    unanswered: int = 0
    """Requests left without one."""
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    """Calls by how they ended."""
    charge: Charge = Charge()
    """What they cost."""
    prompt_tokens: int = 0
    """Tokens that the server says it read."""
    completion_tokens: int = 0
    """Tokens that it says it wrote."""

    def metrics(self) -> dict[str, float]:
        """Return it as the metrics of a stage."""
        return {
            "requests": float(self.sent),
            "answered_before": float(self.cached),
            "prompt_tokens": float(self.prompt_tokens),
            "completion_tokens": float(self.completion_tokens),
            "dollars": self.charge.dollars,
        }
