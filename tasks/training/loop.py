"""The training loop: explicit, deterministic, resumable, the same for every objective.

One optimiser step is: for each micro-batch a forward pass and a backward pass whose contributions
sum, over all ranks, then one AdamW step. Checkpoints after step 1 (a rehearsal: better to find out
now that saving fails) and then every ``save_every`` steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean

from torch import nn

from tasks.data.batches import BatchPlan
from tasks.models.groups.flops import best_matmul_rate
from tasks.models.memory import kept_memory
from tasks.settings.base import key_settings
from tasks.settings.errors import StageError
from tasks.settings.log import Log, NullLog
from tasks.storage.digests import sha256_json
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import Checkpoints, Progress
from tasks.training.config import TrainingConfig
from tasks.training.data.micro_batches import Piece, pieces_of
from tasks.training.distributed import ranks
from tasks.training.distributed.engine import Engine
from tasks.training.distributed.hardware import peak_memory_gb
from tasks.training.distributed.interruption import StopSignal, TrainingInterrupted
from tasks.training.distributed.opening import open_engine
from tasks.training.optimiser import learning_rate
from tasks.training.random_state import deterministic, seed_everything
from tasks.training.snapshots import Save, Snapshots
from tasks.training.speed import Clock, Work, padding_share
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
    save: Save,
) -> dict[str, float]:
    """Train a model in place, from the newest checkpoint of the workspace if there is one.

    Every process of a training calls this with the same arguments.

    Args:
        model: The starting weights, in ``model.model`` a transformers model.
        plan: Which samples meet in which step.
        task: How samples become a loss.
        config: The optimiser's settings.
        workspace: Where checkpoints go.
        log: Receives metrics per step, and progress; only the main process's is used.
        seed: Of every random stream.
        save: Called on the main process, for each snapshot and after the last step, with the
            weights of ``model.model`` by name, or with None where ``model.model`` holds them, and
            the folder that receives the model.

    Returns:
        Means over the steps of the loss and the task's metrics, and how much was done.

    Raises:
        ConfigError: There are more snapshots than steps.
        StageError: A loss or gradient is not finite, there is no space for a checkpoint, or the
            number of samples is not the planned one.
        TrainingInterrupted: A signal to stop arrived; a checkpoint was saved first.
    """
    snapshots = Snapshots(workspace, plan.steps, config.snapshots, save)
    with deterministic(), kept_memory():
        _set_dropout(model, config.dropout)
        model.train()
        identity = _identity(model, plan, config, seed)
        engine = open_engine(model, config)
        # Measured before the first step, whose time would hold it otherwise.
        best_matmul_rate(engine.device.type)
        # Ranks draw apart, or the same dropout would fall on all of them.
        seed_everything(seed + 1_000_003 * ranks.rank())
        checkpoints = Checkpoints(
            workspace, engine, keep=config.keep_checkpoints, config_digest=identity
        )
        run = _Run(engine, plan, task, config, log if ranks.is_main() else NullLog())
        progress = checkpoints.restore()
        if progress is not None:
            run.log.note(f"resuming after step {progress.step} of {plan.steps}")
        progress = _steps(run, checkpoints, snapshots, progress or Progress())
        model.eval()
        state = engine.whole_state()
        ranks.agree(ranks.error_of(lambda: snapshots.finish(state)) if ranks.is_main() else None)
    return _summary(progress, plan)


def _steps(
    run: _Run, checkpoints: Checkpoints, snapshots: Snapshots, progress: Progress
) -> Progress:
    """Do every step that is left, saving on the way."""
    plan, config = run.plan, run.config
    with StopSignal() as stop:
        while progress.step < plan.steps:
            run.step(progress)
            # Every rank looks at the same folder, and gives its share of sharded weights.
            if ranks.from_main(snapshots.is_due(progress.step)):
                _keep_snapshot(run.engine, snapshots, progress.step)
            due = progress.step == 1 or progress.step % config.save_every == 0
            # A signal reaches one rank or some; all of them stop at the same step.
            asked = next(filter(None, ranks.gather(stop.requested)), None)
            # After the last step the model itself is saved.
            if asked or (due and progress.step < plan.steps):
                checkpoints.save(progress)
            if asked:
                raise TrainingInterrupted(
                    f"stopped by {asked}, state saved at step {progress.step} of {plan.steps}: "
                    "resume goes on from there"
                )
    return progress


def _keep_snapshot(engine: Engine, snapshots: Snapshots, step: int) -> None:
    """Keep the model as it is after a step, on all ranks or on none."""
    state = engine.whole_state()
    ranks.agree(ranks.error_of(lambda: snapshots.keep(step, state)) if ranks.is_main() else None)


@dataclass
class _Share:
    """What one rank did in one step."""

    sums: dict[str, float] = field(default_factory=dict)
    """Its share of the loss and of the task's metrics."""
    work: Work = field(default_factory=Work)
    """How much it computed."""
    peak_gb: float = 0.0
    """Its peak memory."""
    seen: list[str] = field(default_factory=list)
    """Names of its samples."""
    bad: tuple[float, list[str]] | None = None
    """The first loss that is not finite, and the samples it is of."""


class _Run:
    """What one training keeps in its hands."""

    def __init__(
        self, engine: Engine, plan: BatchPlan, task: TrainingTask, config: TrainingConfig, log: Log
    ) -> None:
        self.engine, self.plan, self.task = engine, plan, task
        self.config, self.log = config, log
        self._sizes = {name: task.sizes(name) for name in plan.counts}
        self._curve: dict[str, list[float]] = {}

    def step(self, progress: Progress) -> None:
        """Do one optimiser step, count it in ``progress`` and log it."""
        clock = Clock()
        rate = learning_rate(self.config, progress.step, self.plan.steps)
        own = self._accumulate(progress.step)
        shares = ranks.gather(own)
        for share in shares:
            if share.bad is not None:
                raise self._not_finite("loss", *share.bad, progress.step)
        norm = self.engine.update(rate)
        if not math.isfinite(norm):
            seen = [name for share in shares for name in share.seen]
            raise self._not_finite("gradient norm", norm, seen, progress.step)

        work = [share.work for share in shares]
        metrics = {"padding_share": padding_share(work)}
        for share in shares:
            for name, value in share.sums.items():
                metrics[name] = metrics.get(name, 0.0) + value
        progress.step += 1
        progress.samples_seen += sum(w.groups for w in work)
        progress.tokens += sum(w.tokens for w in work)
        for name, value in metrics.items():
            progress.totals[name] = progress.totals.get(name, 0.0) + value
            progress.appearances[name] = progress.appearances.get(name, 0) + 1
        peaks = [share.peak_gb for share in shares]
        speeds = clock.speeds(work, peaks, self.engine.device.type)
        self._draw(metrics | speeds | {"learning_rate": rate, "grad_norm": norm}, progress.step)
        self.log.progress(progress.step, self.plan.steps, "steps")

    def _draw(self, metrics: dict[str, float], step: int) -> None:
        """Add a step to the training curves: one point for every few steps, their mean."""
        for name, value in metrics.items():
            self._curve.setdefault(name, []).append(value)
        if step == 1 or step % self.config.logging_steps == 0 or step == self.plan.steps:
            self.log({name: fmean(values) for name, values in self._curve.items()}, step)
            self._curve = {}

    def _accumulate(self, step: int) -> _Share:
        """Add up this rank's gradients of one step, and on its last pass those of all ranks."""
        indices = {name: rows for name, rows in self.plan.at(step).items() if rows}
        counts = self.task.counts(self.plan.at(step))
        budget = self.config.micro_batch_tokens
        pieces = pieces_of(indices, self._sizes, budget, ranks.rank(), ranks.world_size())
        share = _Share()
        with self.engine.one_step():
            for index, piece in enumerate(pieces):
                with self.engine.one_pass(last=index == len(pieces) - 1):
                    self._pass(piece, counts, share)
        share.peak_gb = peak_memory_gb()
        return share

    def _pass(self, piece: Piece, counts: dict[str, int], share: _Share) -> None:
        """Do one forward and backward pass and note what came out."""
        batch = self.task.micro_batch(piece.data_set, piece.rows).to(self.engine.device)
        with self.engine.arithmetic():
            loss, metrics = self.task.loss(self.engine.model, batch, counts)
        self.engine.backward(loss if piece.counts else loss * 0)
        model = self.engine.module.model
        share.work.add(model, batch.groups, batch.tokens, counts=piece.counts)
        value, names = loss.item(), _names(batch)
        if not math.isfinite(value) and share.bad is None:
            # The other ranks wait for the rest of this one's passes, so they are done.
            share.bad = (value, names)
        if not piece.counts:
            return
        share.seen += names
        for name, part in ({"loss": value} | metrics).items():
            share.sums[name] = share.sums.get(name, 0.0) + part

    def _not_finite(self, what: str, value: float, names: list[str], step: int) -> StageError:
        shown = ", ".join(names[:16]) + (f" and {len(names) - 16} more" if names[16:] else "")
        return StageError(
            f"step {step + 1} of {self.plan.steps} has the {what} {value} on the samples {shown}: "
            "nothing of this step is kept, earlier checkpoints are. Look at these samples, lower "
            "training.learning_rate or use precision fp32"
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
    parameters = [
        [name, list(getattr(p, "ds_shape", p.shape)), str(p.dtype), p.requires_grad]
        for name, p in model.named_parameters()
    ]
    return sha256_json(
        {
            "config": key_settings(config),
            "seed": seed,
            "plan": {"counts": plan.counts, "steps": plan.steps, "seed": plan.seed},
            "parameters": parameters,
        }
    )


def _set_dropout(model: nn.Module, dropout: float) -> None:
    """Set every dropout of a model, those that are modules and those kept as plain numbers."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            # Adapters have a setting of their own.
            module.p = module.p if "lora_" in name else dropout
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = dropout
