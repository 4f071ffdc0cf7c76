"""The model as one process trains it, or as several with a replica each (torch's DDP).

`deepspeed_engine.py` has the same interface for weights or optimiser states that are sharded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn

from tasks.models.precision import arithmetic_of, compute_device
from tasks.training.config import TrainingConfig
from tasks.training.distributed.ranks import is_main
from tasks.training.optimiser import (
    build_optimiser,
    load_optimiser_tensors,
    optimiser_tensors,
    set_rate,
)
from tasks.training.tensor_files import (
    load_trained_tensors,
    read_tensors,
    trained_tensors,
    write_tensors,
)

# The main process commits, and may copy a checkpoint to the remote, while the others wait. A rank
# that died is noticed by its launcher, not by this.
COLLECTIVE_TIMEOUT = timedelta(hours=2)


class Engine:
    """A model with its optimiser, and how gradients of all ranks come together."""

    zero_stage = 0
    """Which of DeepSpeed's ZeRO stages this is; 0: none."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        """Prepare a model with fp32 weights for training, in place: its owner sees it change."""
        self.module, self.config = model, config
        self._start(model, build_optimiser(model, config))

    def _start(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self.accelerator = Accelerator(
            mixed_precision="no",
            cpu=compute_device() == "cpu",
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT),
                # Torch then keeps the buckets it began with. Otherwise it makes new ones after the
                # first step, so that a resumed training would add up in another order.
                DistributedDataParallelKwargs(find_unused_parameters=True),
            ],
        )
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)

    @property
    def device(self) -> torch.device:
        """The device on which the model computes, where batches have to be."""
        return torch.device(self.accelerator.device)

    def one_step(self) -> AbstractContextManager[Any]:
        """Return a context that keeps what autocast has cast of the weights: one optimiser step.

        It computes in no lower precision itself, so that backward passes do not either; while it
        is open, torch does not clear what the contexts inside it have cast.
        """
        return torch.autocast(self.device.type, torch.bfloat16, enabled=False)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context of one forward pass and its loss."""
        return arithmetic_of(self.config.precision)

    def one_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of one forward and backward pass; ranks meet in the last of a step."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def whole(self) -> AbstractContextManager[Any]:
        """Return a context in which each rank may call the model's parts by itself, unlike others.

        All ranks enter and leave it together; nothing is trained in it.
        """
        return nullcontext()

    def backward(self, share: Tensor) -> None:
        """Add the gradient of a share of the step's loss; shares of all passes and ranks sum."""
        # DDP takes the mean over ranks.
        self.accelerator.backward(share * self.accelerator.num_processes)

    def update(self, rate: float) -> float:
        """Clip the gradient, do the optimiser's step unless it is not finite, and forget it.

        Returns:
            The L2 norm that the whole gradient had.
        """
        set_rate(self.optimiser, rate)
        limit = self.config.max_grad_norm or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), limit))
        if math.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad()
        return norm

    def save(self, folder: Path) -> dict[str, Any]:
        """Write this rank's share of weights and optimiser state; return what reads them back."""
        if not is_main():
            return {}
        named = optimiser_tensors(self.module, self.optimiser.state)
        return {
            "model": write_tensors(folder, "model", trained_tensors(self.module)),
            "optimizer": write_tensors(folder, "optimizer", named),
        }

    def load(self, folder: Path, written: Mapping[str, Any]) -> None:
        """Put back what ``save`` wrote.

        Raises:
            FileNotFoundError: A file is missing.
            KeyError: ``written`` lacks an entry.
        """
        load_trained_tensors(self.module, read_tensors(folder, written["model"]))
        state = read_tensors(folder, written["optimizer"])
        load_optimiser_tensors(self.module, self.optimiser.state, state)

    def whole_state(self) -> dict[str, Tensor] | None:
        """Return every weight on the main process where the model does not hold it whole."""
        return None
