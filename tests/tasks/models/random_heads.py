"""Reward models that were not trained and tell responses apart all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tasks.models.reward_model import build_reward_model


def random_reward_model(backbone: Path, tokenizer: Any, seed: int, **loading: Any) -> Any:
    """Build a reward model and draw its head, which a fresh one has at zero."""
    model = build_reward_model(backbone, tokenizer, **loading)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.score.weight.normal_(std=(model.score.in_features + 1) ** -0.5, generator=generator)
    return model
