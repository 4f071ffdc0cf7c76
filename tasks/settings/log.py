"""What the work reports to, without knowing who listens: a terminal, MLflow, Prefect, a test."""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """Receives what happens inside a stage. It never raises and never slows the work down."""

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record figures.

        Args:
            metrics: value per name.
            step: the optimiser step they belong to; None for figures of the whole stage.
        """

    def note(self, text: str) -> None:
        """Tell the user one thing worth knowing, as a sentence."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far the work is.

        Args:
            done: units finished.
            total: units in all.
            unit: what is counted, in the plural: "steps", "prompts".
        """


class NullLog:
    """A `Log` that nobody reads."""

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Forget the figures."""

    def note(self, text: str) -> None:
        """Forget the sentence."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Forget the progress."""
