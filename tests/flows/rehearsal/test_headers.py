"""What a configuration's header says of memory is what the arithmetic of a rehearsal finds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from transformers import AutoConfig

from flows.configs.ava import AvaConfig
from flows.configs.branches.ava_cells import POLICY_ONLY
from flows.configs.exo import ExoConfig
from flows.registry import CONFIGS, find_flow, read_config
from tasks.models.sizes.shape import ModelShape, shape_of
from tasks.settings.base import FrozenConfig
from tasks.training.config import TrainingConfig
from tasks.training.memory_needs import ppo_memory, training_memory
from tasks.training.tqr_config import TqrUpdateConfig
from tests.flows.rehearsal.conftest import MODELS
from tests.flows.rehearsal.test_shipped_configs import MODEL_OF


@cache
def shape(model: str) -> ModelShape:
    return shape_of(AutoConfig.from_pretrained(MODELS / model))


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


def memory_of_ava(config: AvaConfig, policy: ModelShape, reward: ModelShape) -> list[float]:
    """Return what a process holds of the largest training of `ava`, heads included, and of PPO."""

    def training(shape: ModelShape, settings: TrainingConfig, **told: Any) -> float:
        heads = TqrUpdateConfig(**told).model.numbers(shape.width, shape.head) if told else 0
        return training_memory(shape, settings, bf16=True, beside=heads).total

    found = []
    for cell in config.cells():
        settings = config.training_of(cell)
        told = {"objective": cell.objective, "tqr": cell.tqr(config.tqr)}
        is_new = cell.objective not in POLICY_ONLY
        shape = policy if cell.pipeline == "direct" else reward
        found.append(training(shape, settings, **(told if is_new else {})))
    if config.data.has_preferences:
        found.append(training(reward, config.reward.training, objective="bradley_terry"))
    sizes = [max(found)]
    if config.uses_ppo:
        models = ppo_memory(policy, reward, config.ppo_settings(config.ppo), bf16=True)
        sizes.append(sum(one.total for one in models.values()))
    return sizes


def gigabytes(name: str, shapes: Sequence[ModelShape]) -> list[int]:
    """Return the memory of a process: of the largest training on groups, and of PPO.

    Of `ava` with every model that a header names, or with a small reward model where it has one.
    """
    config = read_config(find_flow(name.partition("-")[0]), CONFIGS / f"{name}.yaml", [])
    if isinstance(config, AvaConfig):
        both = [tuple(shapes)] if config.reward.base else [(one, one) for one in shapes]
        found = [size for pair in both for size in memory_of_ava(config, *pair)]
        return [round(size / 1e9) for size in found]
    (model,) = shapes
    if isinstance(config, ExoConfig) and config.oracle.base is None:
        config = config.model_copy(update={"oracle": None})
    found = [training_memory(model, one, bf16=True).total for one in trainings(config)]
    sizes = [max(found)]
    if isinstance(config, ExoConfig):
        models = ppo_memory(model, model, config.ppo_of(config.temperature), bf16=True)
        sizes.append(sum(one.total for one in models.values()))
    return [round(size / 1e9) for size in sizes]


MODELS_OF = {
    "ava-hh": ("gpt2", "bart-base"),
    "ava-tldr": ("gpt2", "bart-base"),
    "ava-hh-7b": ("llama-2-7b", "gpt2"),
    "ava-demonstrations": ("llama-2-7b", "gpt2"),
    "ava-math": ("llama-2-7b",),
}
"""The models that a configuration's header counts, where it is not the one it is rehearsed with."""
NAMED = sorted(name for name, model in MODEL_OF.items() if model and name != "apo-smollm2")
"""Those for GPUs; the header of the pretrained model's counts all of a small machine's memory."""


@pytest.mark.parametrize("name", NAMED)
def test_the_header_says_what_a_process_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BASE_MODEL", "GOLD", "PAIRS", "PROMPTS", "GPT4LLM", "SUBSET", "REWARD_MODEL"):
        monkeypatch.setenv(variable, variable)
    named = MODELS_OF.get(name, (MODEL_OF[name],))
    shapes = [shape(one) for one in named]
    head = re.findall(r"^#.*", (CONFIGS / f"{name}.yaml").read_text(), re.MULTILINE)
    said = re.findall(r"(\d+) GB", " ".join(head))
    assert [int(size) for size in said] == gigabytes(name, shapes)


def test_a_six_billion_model_needs_more_than_its_training_says() -> None:
    """What the header of the 6B configuration once said, 96 GB, is of SFT alone and in fp32."""
    six = shape("six-billion")
    assert round(six.parameters / 1e9) == 6
    states = training_memory(six, TrainingConfig(), bf16=False).states
    assert states == 16 * six.parameters
