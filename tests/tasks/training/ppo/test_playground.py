"""PPO on the playground, whose true reward is known: three seeds, each from the same SFT model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.generator import ensure_playground
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.trainer import train_by_ppo
from tasks.training.updates.policy import train_policy

LIMITS = {"max_prompt_tokens": 96, "max_response_tokens": 48, "on_long_response": "error"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A playground with `prompts`, and a small model `sft` trained on its demonstrations."""
    root = tmp_path_factory.mktemp("world")
    ensure_playground(PlaygroundConfig(folder=root / "play", entities=3, demonstrations=1200))
    lines = (root / "play" / "demonstrations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    groups = [
        Group(
            prompt=tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]),
            responses=(row["completion"][0]["content"],),
        )
        for row in rows
    ]
    write_groups(root / "demonstrations", groups)
    texts = (text for g in groups for text in (*(m.content for m in g.prompt), *g.responses))
    tokenizer = train_tokenizer(texts, 600, root / "base")
    shape = ArchitectureConfig(hidden_size=64, layers=2, heads=4, context=256)
    save_model(build_policy(shape, tokenizer, 0), tokenizer, root / "base", "hh")
    training = {
        "learning_rate": 5e-3, "batch_size": 32, "num_train_epochs": 6, "lr_scheduler": "cosine",
        "precision": "fp32",
    }  # fmt: skip
    config = PolicyConfig(
        method="sft", limits=LIMITS | {"max_response_tokens": 96}, training=training
    )
    workspace = Workspace(root / "sft")
    train_policy(
        root / "base", None, [root / "demonstrations"], config, workspace, NullLog(), seed=0
    )
    return root


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_oracles_reward_rises_at_bounded_kl(world, tmp_path, recording_log, seed):
    start = world / "sft" / "output"
    config = PpoConfig(
        limits=LIMITS, total_steps=30, prompts_per_step=32, samples=2, ppo_epochs=2, minibatches=2,
        critic_warmup_steps=2, actor_learning_rate=1e-3, critic_learning_rate=2e-3,
        precision="fp32",
    )  # fmt: skip
    train_by_ppo(
        start,
        world / "play" / "world.json",
        world / "demonstrations",
        start,
        config,
        Workspace(tmp_path / "ppo"),
        recording_log,
        seed,
    )
    curve = [metrics for step, metrics in recording_log.metrics if step]
    first, last = (sum(m["objective/scores"] for m in part) / 3 for part in (curve[:3], curve[-3:]))
    print(f"seed {seed}: oracle {first:.2f} to {last:.2f}, kl {curve[-1]['objective/kl']:.2f}")
    assert last > first + 0.5
    assert all(metrics["objective/kl"] < 15 for metrics in curve)
