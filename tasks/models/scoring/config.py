"""How responses are scored, and the files by which a scorer's folder is recognised.

Imports no torch: configs are read by `sparring plan`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.models.precision import Precision
from tasks.models.tokens.encoding import Limits
from tasks.settings.base import FrozenConfig

CLASSIFIER_FILE = "classifier.json"
"""Makes a folder a classifier."""
WORLD_FILE = "world.json"
"""Makes a folder a playground."""


class ScoringConfig(FrozenConfig):
    """How a scorer reads and scores responses; what is about tokens concerns reward models only."""

    limits: Limits = Limits()
    """Longest prompt and response in the reward model's own tokens."""

    template: str | None = None
    """The reward model's chat template by name; None for its tokenizer's own."""

    score: Literal["last", "return"] | None = None
    """How a TQR's rewards of tokens become one: `last`, that where the response's end is chosen;
    `return`, all of them (AVA, Eq. 19). Default: the one that it was trained for, `last` but of
    preference_transformer. Other scorers have one number only."""

    return_scale: Literal["mean", "sum"] = "mean"
    """Whether a return is the mean of the rewards or their sum, which grows with the length."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens per forward pass, each prompt once; changes memory and speed only."""

    precision: Precision = "auto"
    """Arithmetic; weights and rewards are fp32. auto: bf16 where the processor has it (CUDA, or
    AVX-512-BF16 or AMX on a CPU), else fp32."""

    shard_size: int = Field(default=2000, ge=1)
    """Groups scored between two points that survive a kill."""
