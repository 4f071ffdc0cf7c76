"""Which engine a config asks for; everything of DeepSpeed is imported only where it is set."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import nn

from tasks.training.config import TrainingConfig

if TYPE_CHECKING:
    from tasks.training.distributed.engine import Engine


def open_engine(model: nn.Module, config: TrainingConfig) -> Engine:
    """Return the engine that the config asks for, with the model prepared for training.

    Raises:
        ConfigError: DeepSpeed is not installed, or its file cannot be used.
    """
    if config.deepspeed is None:
        from tasks.training.distributed.engine import Engine

        return Engine(model, config)
    from tasks.training.distributed.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(model, config)


def zero_stage(config: TrainingConfig) -> int:
    """Return which of DeepSpeed's ZeRO stages a training uses; 0: none.

    Raises:
        ConfigError: DeepSpeed's file cannot be used.
    """
    if config.deepspeed is None:
        return 0
    from tasks.training.distributed.deepspeed_engine import deepspeed_settings

    return int(deepspeed_settings(config)["zero_optimization"]["stage"])


def loading_context(config: TrainingConfig) -> AbstractContextManager[Any]:
    """Return the context in which the weights to train are loaded: sharded at once for ZeRO-3.

    Raises:
        ConfigError: DeepSpeed is not installed, or its file cannot be used.
    """
    if config.deepspeed is None:
        return nullcontext()
    from tasks.training.distributed.deepspeed_engine import sharded_loading

    return sharded_loading(config)


def whole_weights(model: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which a model that was loaded sharded can be called; else it is empty.

    For what runs before the training has prepared the model; all ranks enter together, and its
    weights must not change in the block.
    """
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return nullcontext()
    from tasks.training.distributed.deepspeed_engine import gathered

    return gathered(model)
