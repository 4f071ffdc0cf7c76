"""A tiny TQR whose heads tell tokens apart, saved as a training saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.models.tqr.model_files import save_tqr
from tests.tasks.models.tqr.tqr_models import on_folder, random_heads

WORDS = ["what is 1? it is, no, a longer answer, sir", "the fox eats fish, stupid"]


def tqr_folder(root: Path, **config: Any) -> Path:
    """Build and save one; returns its folder."""
    tokenizer = train_tokenizer(iter(WORDS * 9), 290, root / "policy")
    shape = ArchitectureConfig(hidden_size=16, layers=1, heads=2, context=96)
    save_model(build_policy(shape, tokenizer, 0), tokenizer, root / "policy", "plain")
    tqr = on_folder(root / "policy", **config)
    tqr.heads = random_heads(tqr.heads.config, tqr.model)
    save_tqr(tqr.model, tqr.heads, tokenizer, root / "tqr", "plain")
    return root / "tqr"
