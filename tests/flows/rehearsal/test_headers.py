"""What a configuration's header says of memory is what the arithmetic of a rehearsal finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from flows.configs.exo import ExoConfig
from flows.registry import CONFIGS, find_flow, read_config
from tasks.models.sizes.shape import ModelShape, shape_of
from tasks.settings.base import FrozenConfig
from tasks.training.config import TrainingConfig
from tasks.training.memory_needs import ppo_memory, training_memory
from tests.flows.rehearsal.conftest import MODELS
from tests.flows.rehearsal.test_shipped_configs import MODEL_OF


def trainings(value: Any) -> Iterator[TrainingConfig]:
    """Yield the settings of every training that a configuration has."""
    if isinstance(value, TrainingConfig):
        yield value
    elif isinstance(value, FrozenConfig):
        for name in type(value).model_fields:
            yield from trainings(getattr(value, name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from trainings(one)


def gigabytes(name: str, shape: ModelShape) -> list[int]:
    """Return the memory of a process: of the largest training on groups, and of PPO."""
    config = read_config(find_flow(name.partition("-")[0]), CONFIGS / f"{name}.yaml", [])
    if isinstance(config, ExoConfig) and config.oracle.base is None:
        config = config.model_copy(update={"oracle": None})
    found = [training_memory(shape, one, bf16=True).total for one in trainings(config)]
    sizes = [max(found)]
    if isinstance(config, ExoConfig):
        models = ppo_memory(shape, shape, config.ppo_of(config.temperature), bf16=True)
        sizes.append(sum(one.total for one in models.values()))
    return [round(size / 1e9) for size in sizes]


NAMED = sorted(name for name, model in MODEL_OF.items() if model and name != "apo-smollm2")
"""Those for GPUs; the header of the pretrained model's counts all of a small machine's memory."""


@pytest.mark.parametrize("name", NAMED)
def test_the_header_says_what_a_process_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BASE_MODEL", "GOLD", "PAIRS", "PROMPTS", "GPT4LLM"):
        monkeypatch.setenv(variable, variable)
    shape = shape_of(AutoConfig.from_pretrained(MODELS / MODEL_OF[name]))
    head = re.findall(r"^#.*", (CONFIGS / f"{name}.yaml").read_text(), re.MULTILINE)
    said = re.findall(r"(\d+) GB", " ".join(head))
    assert [int(size) for size in said] == gigabytes(name, shape)


def test_a_six_billion_model_needs_more_than_its_training_says() -> None:
    """What the header of the 6B configuration once said, 96 GB, is of SFT alone and in fp32."""
    shape = shape_of(AutoConfig.from_pretrained(Path(MODELS) / "six-billion"))
    assert round(shape.parameters / 1e9) == 6
    states = training_memory(shape, TrainingConfig(), bf16=False).states
    assert states == 16 * shape.parameters
