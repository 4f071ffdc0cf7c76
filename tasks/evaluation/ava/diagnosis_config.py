"""What a user may set about the diagnostics of a TQR. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.models.scoring.config import ScoringConfig
from tasks.settings.base import FrozenConfig


class DiagnosisConfig(FrozenConfig):
    """How the rewards of a TQR are looked at, on pairs whose column 0 is the better response."""

    scoring: ScoringConfig
    """Token limits and template of the TQR, and which score is its own."""

    gamma: float = Field(default=0.99, ge=0, le=1)
    """Discount of the next Q in a temporal-difference error: that of the training."""

    most_groups: int = Field(default=500, ge=1)
    """Pairs looked at, drawn at random. Default 500."""

    examples: int = Field(default=8, ge=0)
    """Pairs of those that are shown as a heat-map. Default 8."""

    prefix_tokens: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """How many tokens of the responses are shown where the accuracy is measured on beginnings."""

    shuffles: int = Field(default=200, ge=1)
    """How often the oracle's penalties are shuffled within their responses, as a control."""
