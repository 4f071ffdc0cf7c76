"""The training loop: explicit, deterministic, resumable, the same for every objective.

One optimiser step is: for each micro-batch a forward pass and a backward pass whose contributions
sum, then one AdamW step. Checkpoints after step 1 (a rehearsal: better to find out now that saving
fails) and then every ``save_every`` steps.
"""

from __future__ import annotations

import math
import time
from statistics import fmean

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn

from tasks.data.batches import BatchPlan
from tasks.settings.errors import StageError
from tasks.settings.log import Log
from tasks.storage.digests import sha256_json
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import Checkpoints, Progress
from tasks.training.config import TrainingConfig
from tasks.training.hardware import arithmetic_of
from tasks.training.interruption import StopSignal, TrainingInterrupted
from tasks.training.optimiser import build_optimiser, learning_rate
from tasks.training.randomness import deterministic, seed_everything
from tasks.training.task import MicroBatch, TrainingTask


def train(
    model: nn.Module,
    *,
    plan: BatchPlan,
    task: TrainingTask,
    config: TrainingConfig,
    workspace: Workspace,
    log: Log,
    seed: int,
) -> dict[str, float]:
    """Train a model in place, from the newest checkpoint of the workspace if there is one.

    Args:
        model: the starting weights; holds the trained ones afterwards, on the training's device.
        plan: which samples meet in which step.
        task: how samples become a loss.
        config: the optimiser's settings.
        workspace: where checkpoints go.
        log: receives metrics per step, and progress.
        seed: of every random stream.

    Returns:
        Means over the steps of the loss and the task's metrics, and how much was done.

    Raises:
        StageError: a loss or gradient is not finite, there is no space for a checkpoint, or the
            number of samples is not the planned one.
        TrainingInterrupted: SIGTERM or SIGINT arrived; a checkpoint was saved first.
    """
    accelerator = Accelerator(mixed_precision="no")
    with deterministic():
        seed_everything(seed)
        _set_dropout(model, config.dropout)
        model.train()
        prepared, optimiser = accelerator.prepare(model, build_optimiser(model, config))
        run = _Run(accelerator, prepared, optimiser, plan, task, config, log)
        checkpoints = Checkpoints(
            workspace,
            keep=config.keep_checkpoints,
            world_size=accelerator.num_processes,
            config_digest=_identity(model, plan, config, seed),
        )
        progress = checkpoints.restore(model, optimiser.state)
        if progress is not None:
            log.note(f"resuming after step {progress.step} of {plan.steps}")
        progress = _steps(run, checkpoints, progress or Progress())
        model.eval()
    return _summary(progress, plan)


def _steps(run: _Run, checkpoints: Checkpoints, progress: Progress) -> Progress:
    """Do every step that is left, saving on the way."""
    plan, config = run.plan, run.config
    with StopSignal() as stop:
        while progress.step < plan.steps:
            run.step(progress)
            due = progress.step == 1 or progress.step % config.save_every == 0
            # After the last step the model itself is saved, by whoever called.
            if stop.requested or (due and progress.step < plan.steps):
                checkpoints.save(progress, run.model, run.optimiser.state)
            if stop.requested:
                raise TrainingInterrupted(
                    f"training stopped by {stop.requested} after step {progress.step} of "
                    f"{plan.steps}; its state is saved: resume goes on from there"
                )
    return progress


class _Run:
    """What one training keeps in its hands."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        plan: BatchPlan,
        task: TrainingTask,
        config: TrainingConfig,
        log: Log,
    ) -> None:
        self.accelerator, self.model, self.optimiser = accelerator, model, optimiser
        self.plan, self.task, self.config, self.log = plan, task, config, log
        self._curve: dict[str, list[float]] = {}

    def step(self, progress: Progress) -> None:
        """Do one optimiser step, count it in ``progress`` and log it."""
        began = time.perf_counter()
        indices = self.plan.at(progress.step)
        counts = {name: len(rows) for name, rows in indices.items()}
        rate = learning_rate(self.config, progress.step, self.plan.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

        metrics, seen, tokens = self._accumulate(indices, counts, progress.step)
        norm = self._clip(seen, progress.step)
        self.optimiser.step()
        self.optimiser.zero_grad()

        progress.step += 1
        progress.samples_seen += len(seen)
        progress.tokens += tokens
        for name, value in metrics.items():
            progress.totals[name] = progress.totals.get(name, 0.0) + value
            progress.appearances[name] = progress.appearances.get(name, 0) + 1
        seconds = time.perf_counter() - began
        extra = {"learning_rate": rate, "grad_norm": norm, "tokens_per_second": tokens / seconds}
        self._draw(metrics | extra, progress.step)
        self.log.progress(progress.step, self.plan.steps, "steps")

    def _draw(self, metrics: dict[str, float], step: int) -> None:
        """Add a step to the training curves: one point for every few steps, their mean."""
        for name, value in metrics.items():
            self._curve.setdefault(name, []).append(value)
        if step == 1 or step % self.config.logging_steps == 0 or step == self.plan.steps:
            self.log({name: fmean(values) for name, values in self._curve.items()}, step)
            self._curve = {}

    def _accumulate(
        self, indices: dict[str, list[int]], counts: dict[str, int], step: int
    ) -> tuple[dict[str, float], list[str], int]:
        """Add up the gradients of one step; return its metrics, samples and tokens."""
        sums = {"loss": 0.0}
        seen: list[str] = []
        tokens = 0
        for batch in self.task.micro_batches(indices):
            tokens += int(batch.groups.attention_mask.sum())
            on_device = send_to_device(batch, self.accelerator.device)
            with arithmetic_of(self.config.precision):
                loss, metrics = self.task.loss(self.model, on_device, counts)
            value = loss.item()
            names = _names(batch)
            if not math.isfinite(value):
                raise self._not_finite("loss", value, step, names)
            self.accelerator.backward(loss)
            for name, share in ({"loss": value} | metrics).items():
                sums[name] = sums.get(name, 0.0) + share
            seen += names
        return sums, seen, tokens

    def _clip(self, seen: list[str], step: int) -> float:
        """Scale the gradient down to the configured norm; return the norm it had."""
        limit = self.config.max_grad_norm or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), limit))
        if not math.isfinite(norm):
            raise self._not_finite("gradient norm", norm, step, seen)
        return norm

    def _not_finite(self, what: str, value: float, step: int, names: list[str]) -> StageError:
        shown = ", ".join(names[:16]) + (f" and {len(names) - 16} more" if names[16:] else "")
        return StageError(
            f"step {step + 1} of {self.plan.steps} has the {what} {value} on the samples {shown}: "
            "the weights were not changed and earlier checkpoints are kept. Look at these "
            "samples, lower training.learning_rate or use precision fp32"
        )


def _names(batch: MicroBatch) -> list[str]:
    pairs = zip(batch.indices, batch.ids, strict=True)
    return [f"{batch.data_set}[{index}] {name}" for index, name in pairs]


def _summary(progress: Progress, plan: BatchPlan) -> dict[str, float]:
    planned = sum(plan.samples_planned.values())
    if progress.samples_seen != planned:
        raise StageError(
            f"the training saw {progress.samples_seen} samples and {planned} were planned: "
            "its result is not what the config says; please report this"
        )
    means = {name: total / progress.appearances[name] for name, total in progress.totals.items()}
    return means | {
        "steps": float(progress.step),
        "samples_seen": float(progress.samples_seen),
        "samples_planned": float(planned),
        "tokens": float(progress.tokens),
    }


def _identity(model: nn.Module, plan: BatchPlan, config: TrainingConfig, seed: int) -> str:
    """Digest of what must be equal for a checkpoint to be this training's."""
    parameters = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    return sha256_json(
        {
            "config": config.model_dump(mode="json"),
            "seed": seed,
            "plan": {"counts": plan.counts, "steps": plan.steps, "seed": plan.seed},
            "parameters": parameters,
        }
    )


def _set_dropout(model: nn.Module, dropout: float) -> None:
    """Set every dropout of a model, those that are modules and those kept as plain numbers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = dropout
