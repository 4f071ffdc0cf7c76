"""What all sides that sample report: how much was drawn, and how long the responses are."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.engine.worker import Block

NEW_TOKENS = 128
"""The most that a response is sampled for."""


@dataclass
class Drawn:
    """What has been sampled so far; both sides must draw responses of about one mean length."""

    lengths: list[int] = field(default_factory=list)

    def block(self, lengths: list[int], steps: int) -> Block:
        """Return a block of responses of these lengths, `steps` tokens drawn for them, if known."""
        self.lengths += lengths
        mean = sum(self.lengths) / len(self.lengths)
        done = Block(units=sum(lengths), losses={0: mean}, notes={"mean_length": round(mean, 1)})
        done.computed, done.needed = steps, sum(lengths)
        return done
