"""AdamW, its learning rate as a function of the step, and its state as named tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tasks.training.config import TrainingConfig

_HEADS = frozenset({"score", "heads"})
"""What new heads are called, in a transformers model or beside it."""


def build_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over the model's trainable parameters, with decay on matrices only.

    New heads, a reward model's or a TQR's, have groups of their own: they may learn at another
    rate.
    """
    head_pace = (config.head_learning_rate or config.learning_rate) / config.learning_rate
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = not _HEADS.isdisjoint(name.split(".")), _is_matrix(parameter)
            groups.setdefault(kind, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": config.weight_decay if is_matrix else 0.0,
                "pace": head_pace if is_head else 1.0,
            }
            for (is_head, is_matrix), parameters in groups.items()
        ],
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give an optimiser of `build_optimiser` the learning rate of a step, the head at its pace."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["pace"]


def _is_matrix(parameter: nn.Parameter) -> bool:
    # What DeepSpeed has sharded is flat and empty here, and keeps its shape beside it.
    return len(getattr(parameter, "ds_shape", parameter.shape)) >= 2


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """Return the learning rate of one optimiser step.

    A pure function of the step, so a resumed training needs no scheduler state.

    Args:
        config: Peak, warm-up and shape.
        step: Optimiser steps already done, in [0, total).
        total: Optimiser steps of the whole training.

    Example:
        >>> config = TrainingConfig(learning_rate=1.0, warmup_steps=2, lr_scheduler="linear")
        >>> [learning_rate(config, step, 4) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    warmup = config.warmup_of(total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.lr_scheduler == "constant":
        return config.learning_rate
    done = (step - warmup) / max(1, total - warmup)
    if config.lr_scheduler == "linear":
        return config.learning_rate * (1 - done)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def optimiser_tensors(
    model: nn.Module, state: Mapping[nn.Parameter, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named ``parameter|entry``."""
    return {
        f"{name}|{entry}": tensor.detach()
        for name, parameter in model.named_parameters()
        for entry, tensor in state.get(parameter, {}).items()
    }


def load_optimiser_tensors(
    model: nn.Module,
    state: dict[nn.Parameter, dict[str, Tensor]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Fill an optimiser's ``state`` with what ``optimiser_tensors`` returned.

    Raises:
        KeyError: A tensor belongs to a parameter that the model does not have.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        owner, _, entry = name.rpartition("|")
        parameter = parameters[owner]
        state.setdefault(parameter, {})[entry] = tensor.to(parameter.device, copy=True)
