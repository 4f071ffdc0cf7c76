"""Small models in place of those that a configuration names: same kind, same tokenizer, random."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psutil

from flows.configs.base import FlowConfig
from flows.configs.recurring import ModelSource
from tasks.models.base_policy import PolicyModelConfig, hub_name
from tasks.settings.errors import ConfigError
from tasks.settings.parts import with_parts

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Config = TypeVar("Config", bound=FlowConfig)
_HEAD_SIZE = 16
_COPIES_ON_DISK, _COPIES_IN_MEMORY = 12, 10
"""Of the weights in fp32: each training leaves a model and a checkpoint; PPO holds two models with
gradients and moments, and two that only compute."""


class SmallModel(NamedTuple):
    """How small a named model becomes."""

    layers: int = 2
    """Transformer blocks."""
    heads: int | None = 4
    """Attention heads of 16 numbers; None leaves the width as it is."""


def with_small_models(
    config: Config, folder: Path, size: SmallModel
) -> tuple[Config, dict[str, ModelSource]]:
    """Return a configuration whose named models are small ones, and which each of these is for.

    Args:
        config: A flow's.
        folder: Receives the small models.
        size: How small they are.

    Returns:
        The configuration, and the models that it named by the folders that it names now.

    Raises:
        ConfigError: A model's own config or tokenizer cannot be read, it cannot be made small, or
            there is no room for it.
    """
    made: dict[tuple[str, str | None], str] = {}
    stands_for: dict[str, ModelSource] = {}
    for number, model in enumerate(config.named_models()):
        if (named := (model.source, model.revision)) not in made:
            path = folder / f"model-{number}"
            write_small_model(model, path, size)
            made[named], stands_for[str(path)] = str(path), model
    changed: Config = _renamed(config, made) if made else config
    return changed, stands_for


def write_small_model(model: ModelSource, folder: Path, size: SmallModel) -> None:
    """Write a model of the same architecture, vocabulary and context, with random weights.

    Args:
        model: Whose config and tokenizer are read; its weights are not looked at.
        folder: Receives what `save_pretrained` writes.
        size: Layers and heads that are left.

    Raises:
        ConfigError: As `with_small_models`.
    """
    from transformers import AutoConfig, AutoTokenizer

    from tasks.models.loading import quiet_transformers
    from tasks.models.pretrained.gguf_files import source_arguments
    from tasks.models.randomness import seeded
    from tasks.models.source_checks import load_errors

    source = model.source
    asked = {**source_arguments(source, model.revision), "trust_remote_code": False}
    with load_errors("model", source), quiet_transformers():
        whole = AutoConfig.from_pretrained(**asked)
        kind = _kind(whole)
        config = small_config(whole, size)
        _require_room(source, kind, config, folder)
        with seeded("rehearsal"):
            built = kind.from_config(config)
        tokenizer = AutoTokenizer.from_pretrained(**asked)
        built.generation_config = _generation_config(model) or built.generation_config
        built.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def small_config(whole: PretrainedConfig, size: SmallModel) -> PretrainedConfig:
    """Return the config of a small model of the same kind, vocabulary and context.

    Keys and queries keep their ratio of heads, the feed-forward part its ratio to the width.
    """
    from tasks.models.sizes.shape import with_layers

    small = with_layers(whole, min(size.layers, whole.num_hidden_layers))
    if size.heads is None:
        return small
    heads = min(size.heads, whole.num_attention_heads)
    shared = getattr(whole, "num_key_value_heads", None) or whole.num_attention_heads
    width = heads * _HEAD_SIZE
    changes = {
        "num_attention_heads": heads,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "num_key_value_heads": max(1, heads * shared // whole.num_attention_heads),
        "head_dim": _HEAD_SIZE,
        "d_kv": _HEAD_SIZE,
        "hidden_size": width,
    }
    for name in ("intermediate_size", "n_inner", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"):
        if inner := getattr(whole, name, None):
            changes[name] = -(-inner * width // whole.hidden_size // 16) * 16
    for name, value in changes.items():
        if getattr(small, name, None) is not None:
            setattr(small, name, value)
    return small


def _kind(config: PretrainedConfig) -> Any:
    """Return the class that a model is loaded by: a language model, or one that gives a score."""
    import transformers

    if any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        return transformers.AutoModelForSequenceClassification
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModelForCausalLM


def _require_room(source: str, kind: Any, config: PretrainedConfig, folder: Path) -> None:
    """Refuse a rehearsal that this machine has no room for, before anything is written."""
    import torch

    with torch.device("meta"):
        empty = kind.from_config(config)
    size = 4 * sum(parameter.numel() for parameter in empty.parameters())
    there = next(path for path in folder.absolute().parents if path.exists())
    for what, copies, free in (
        ("memory", _COPIES_IN_MEMORY, psutil.virtual_memory().available),
        ("disk", _COPIES_ON_DISK, shutil.disk_usage(there).free),
    ):
        if copies * size > free:
            raise ConfigError(
                f"a rehearsal of {source!r} with {config.num_hidden_layers} layers of width "
                f"{config.hidden_size} needs about {copies * size / 1e9:.1f} GB of {what}, and "
                f"{free / 1e9:.1f} GB are free: give fewer --layers, or leave out --full-width"
            )


def _generation_config(model: ModelSource) -> Any:
    """Return how the model says that it is sampled, None where it says nothing."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(model.source, revision=model.revision)
    except OSError:
        return None


def _renamed(value: Any, made: Mapping[tuple[str, str | None], str]) -> Any:
    """Return a part of a configuration with the small models in place of the named ones."""
    if isinstance(value, PolicyModelConfig):
        folder = made.get((str(value.path or value.hub), value.revision))
        own = {"path": folder, "hub": None, "revision": None}
        return value.model_copy(update=own) if folder else value
    if isinstance(value, str):
        hub, revision = hub_name(value)
        return made.get((hub or value, revision), value)
    return with_parts(value, partial(_renamed, made=made))
