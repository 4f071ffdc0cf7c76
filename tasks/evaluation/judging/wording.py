"""Shares and verdicts of matches in the words that every report of them uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def share_text(rates: Mapping[str, Any], side: str) -> str:
    """Return a side's share with its interval, in percent."""
    return percent(rates[side], rates[f"{side}_interval"])


def percent(share: float, ends: Mapping[str, float]) -> str:
    """Return a share with its interval.

    Example:
        >>> percent(0.5, {"low": 0.25, "high": 0.75})
        '50.0 (25.0 to 75.0)'
    """
    return f"{100 * share:.1f} ({100 * ends['low']:.1f} to {100 * ends['high']:.1f})"


def standing_word(rates: Mapping[str, Any]) -> str:
    """Return whether our side is ahead, behind or neither, as far as the intervals tell."""
    wins, losses = rates["win_interval"], rates["lose_interval"]
    if wins["low"] > losses["high"]:
        return "ahead"
    return "behind" if wins["high"] < losses["low"] else "undecided"
