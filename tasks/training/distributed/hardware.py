"""What the training runs on: device, precision, peak memory, how weights come into memory."""

from __future__ import annotations

import resource
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from tasks.training.config import TrainingConfig


def training_device() -> str:
    """Return where models are trained here: cuda, or else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_memory_gb() -> float:
    """Return the most memory this process has held, GB: the GPU's, or else its resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def world_size(config: TrainingConfig) -> int:
    """Return how many processes the config trains with, on all machines together."""
    return config.processes * config.nodes


def loading_context(config: TrainingConfig) -> AbstractContextManager[Any]:
    """Return the context in which the weights to train are loaded: sharded at once for ZeRO-3.

    Args:
        config: of the training.

    Raises:
        ConfigError: DeepSpeed is not installed, or its file cannot be used.
    """
    if config.deepspeed is None:
        return nullcontext()
    from tasks.training.distributed.deepspeed_engine import sharded_loading

    return sharded_loading(config)


def whole_weights(model: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which a model that was loaded sharded can be called; else it is empty.

    For what runs before the training has prepared the model; all ranks enter together.

    Args:
        model: as ``loading_context`` let it be loaded. Its weights must not change in the block.
    """
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return nullcontext()
    from tasks.training.distributed.deepspeed_engine import gathered

    return gathered(model)
