"""A hub of small local files, and the papers' models without their weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tasks.models.tokens.tokenizer import train_tokenizer
from tests.flows.rehearsal.hub_sets import (
    thing,
    write_gold,
    write_gpt4llm,
    write_hub,
    write_pairs,
    write_prompts,
)

MODELS = Path(__file__).parent / "models"
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every shipped configuration finds its hub sets and files by name."""
    folder = tmp_path_factory.mktemp("hub")
    write_hub(folder)
    write_gold(folder / "gold.jsonl")
    write_pairs(folder / "pairs.jsonl")
    write_prompts(folder / "prompts.jsonl")
    write_gpt4llm(folder / "comparison_data_v2.json")
    for model in MODELS.iterdir():
        write_model(model, folder / model.name)
    # Named by its path, and with a chat template of its own.
    named = folder / "models" / "smollm2-135m-instruct"
    named.parent.mkdir()
    (folder / named.name).rename(named)
    for model in (named, folder / "llama-2-7b-chat"):
        (model / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture
def workplace(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make a copy of the hub the current folder; `BASE_MODEL` is the model that is named."""

    def enter(model: str) -> Path:
        folder = tmp_path / "workplace"
        shutil.copytree(hub, folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("BASE_MODEL", str(folder / model))
        monkeypatch.setenv("GOLD", str(folder / "gold.jsonl"))
        monkeypatch.setenv("GPT4LLM", str(folder / "comparison_data_v2.json"))
        monkeypatch.setenv("PAIRS", str(folder / "pairs.jsonl"))
        monkeypatch.setenv("PROMPTS", str(folder / "prompts.jsonl"))
        monkeypatch.setenv("REWARD_MODEL", str(folder / "gpt2"))
        monkeypatch.setenv("SUBSET", "harmless-base")
        return folder

    return enter


def write_model(architecture: Path, folder: Path) -> None:
    """Write a model's own config, a small tokenizer, and a weight that nobody reads.

    The vocabulary is the tokenizer's: other ids, drawn by a random model, would be no text.
    """
    folder.mkdir()
    texts = (f"How do I repair {thing(n)}? I would mend it slowly." for n in range(200))
    tokenizer = train_tokenizer(texts, 400, folder)
    config = json.loads((architecture / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(tokenizer)}))
    save_file({"unread": torch.zeros(1)}, folder / "model.safetensors")
