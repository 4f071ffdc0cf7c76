"""A tiny real model with its tokenizer, and tiny data sets, made once per session."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.tokenizer import train_tokenizer

WORDS = "yes no maybe tea cake rain sun cold warm please thanks sorry".split()


def make_groups(count: int, responses: int, *, seed: int = 0, pairs: bool = False) -> list[Group]:
    """Groups of random words; scores are random, or (1, 0) in pairs."""
    chance = random.Random(seed)

    def text() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))

    return [
        Group(
            prompt=(Message("user", f"{text()} {index}?"),),
            responses=tuple(text() for _ in range(responses)),
            scores=(1.0, 0.0) if pairs else tuple(chance.random() for _ in range(responses)),
        )
        for index in range(count)
    ]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer llama with grouped-query attention and tied embeddings."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(iter(WORDS * 3), 280, folder)
    config = ArchitectureConfig(hidden_size=16, layers=1, heads=2, kv_heads=1, context=128)
    save_model(build_policy(config, tokenizer, 0), tokenizer, folder, "plain")
    return folder


@pytest.fixture(scope="session")
def data_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders: scored (K=3), pairs (K=2), gold (K=4, gold first), demonstrations (K=1)."""
    root = tmp_path_factory.mktemp("data")
    sets = {
        "scored": make_groups(11, 3, seed=1),
        "pairs": make_groups(10, 2, seed=2, pairs=True),
        "gold": make_groups(5, 4, seed=3),
        "demonstrations": make_groups(9, 1, seed=4),
    }
    for name, groups in sets.items():
        write_groups(root / name, groups)
    return {name: root / name for name in sets}


class RecordingLog:
    """A log that keeps what it was told."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int | None, dict[str, float]]] = []
        self.notes: list[str] = []

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: int, total: int, unit: str) -> None:
        pass


@pytest.fixture
def recording_log() -> RecordingLog:
    return RecordingLog()
