"""A PPO training small enough for many runs: one llama layer, and a scorer that counts letters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.settings.log import Log, NullLog
from tasks.storage.workspace import Workspace
from tasks.training.ppo import models
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.trainer import train_by_ppo

WORDS = "yes no maybe tea cake rain sun cold warm please thanks sorry".split()
SETTINGS = {
    "limits": {"max_prompt_tokens": 16, "max_response_tokens": 6},
    "total_steps": 5, "prompts_per_step": 4, "samples": 2, "ppo_epochs": 2, "minibatches": 2,
    "actor_learning_rate": 1e-2, "critic_learning_rate": 1e-2, "critic_warmup_steps": 1,
    "adaptive_kl": {"target": 0.1, "horizon": 64}, "missing_eos_penalty": 0.5,
    "micro_batch_tokens": 60, "save_every": 2, "precision": "fp32",
}  # fmt: skip


class LetterScorer:
    """The reward is five times the share of vowels in a response."""

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        return [
            [5 * sum(c in "aeiou" for c in text) / max(1, len(text)) for text in group.responses]
            for group in groups
        ]


def write_policy(folder: Path, *, words: Sequence[str] = WORDS, seed: int = 0) -> Path:
    """A policy of one layer with a tokenizer trained on some words."""
    tokenizer = train_tokenizer(iter(list(words) * 3), 280, folder)
    config = ArchitectureConfig(hidden_size=16, layers=1, heads=2, kv_heads=1, context=64)
    save_model(build_policy(config, tokenizer, seed), tokenizer, folder, "plain")
    return folder


def write_prompts(folder: Path, count: int = 7) -> Path:
    """Prompts of one word and a number."""
    prompts = ((Message("user", f"{WORDS[n % len(WORDS)]} {n}?"),) for n in range(count))
    write_groups(folder, (Group(prompt=prompt) for prompt in prompts))
    return folder


def train_tiny(
    root: Path,
    name: str,
    log: Log | None = None,
    earlier: Sequence[Path] = (),
    scorer: object | None = None,
    seed: int = 3,
    **settings,
) -> tuple[dict[str, float], Path]:
    """Train in a workspace of `root`, which holds `policy` and `prompts`; return the output."""
    workspace = Workspace(root / name)
    workspace.adopt_parts(earlier)
    config = PpoConfig(**(SETTINGS | settings))
    with mock.patch.object(models, "open_scorer", lambda *args: scorer or LetterScorer()):
        metrics = train_by_ppo(
            root / "policy",
            root / "nothing",
            root / "prompts",
            root / "policy",
            config,
            workspace,
            log or NullLog(),
            seed,
        )
    return metrics, workspace.output


def digest_of_files(folder: Path) -> str:
    """One hash of every file of a folder, by path."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()
