"""Our trainings as sides: what the stages call, halted between the steps by the log they tell."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from benchmarks.engine.setting import Setting, encoded, texts
from benchmarks.engine.sides.own_passes import reference_model, reference_pass
from benchmarks.engine.sides.training_plan import Training, plan_of
from benchmarks.engine.worker import Block, Turns
from tasks.data.files import write_groups
from tasks.models.groups.flops import best_matmul_rate, multiply_adds
from tasks.models.groups.packing import group_tokens, pack
from tasks.models.precision import compute_device
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training import loop
from tasks.training.config import PolicyConfig, RewardConfig, TrainingConfig
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.training.updates.policy import train_policy
from tasks.training.updates.reference_logps import SET, compute_logps
from tasks.training.updates.reward_model import PREFERENCES, train_reward_model
from tasks.training.updates.tqr import train_tqr
from tasks.training.updates.tqr_task import GROUPS


def policy(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    method: str,
    size: int,
    options: dict[str, Any] | None = None,
    without: str = "",
    **plan: Any,
) -> None:
    """Update the policy by a method on groups of `size` responses, through `train_policy`.

    A block has the reference pass over its groups, where the method reads one, and its steps.

    The `options` are further keys of `TrainingConfig`, those of `plan` are `Training`'s; `without`
    leaves `kept_memory` out.
    """
    training = Training(**plan)
    config = PolicyConfig(
        method=method,
        training=_settings(training, options),
        limits=setting.limits,
        template=setting.template,
    )
    _leave_out(without)
    with tempfile.TemporaryDirectory() as scratch:
        groups = _groups(Path(scratch), setting, folder, size, training)
        logps, before = None, None
        if method == "dpo":
            work = Workspace(Path(scratch) / "reference")
            logps = work.output
            compute_logps(folder / "reference", [groups], config.reference_pass(), work, NullLog())
            before = reference_pass(reference_model(folder), config.reference_pass(), without)
        log = Halting(turns, setting, folder, training, (size, SET), before)
        work = Workspace(Path(scratch) / "training")
        train_policy(folder / "policy", logps, [groups], config, work, log, seed=0)


def reward(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    options: dict[str, Any] | None = None,
    without: str = "",
    **plan: Any,
) -> None:
    """Train the reward model on pairs by the ranking loss, through `train_reward_model`."""
    training = Training(**plan)
    config = RewardConfig(
        objective="bradley_terry",
        training=_settings(training, options),
        limits=setting.limits,
        template=setting.template,
    )
    _leave_out(without)
    with tempfile.TemporaryDirectory() as scratch:
        groups = _groups(Path(scratch), setting, folder, 2, training)
        log = Halting(turns, setting, folder, training, (2, PREFERENCES), None, model="reward")
        work = Workspace(Path(scratch) / "training")
        train_reward_model(folder / "reward", [groups], None, config, work, log, seed=0)


def tqr(turns: Turns, setting: Setting, folder: Path, *, objective: str, **plan: Any) -> None:
    """Train a TQR on pairs by one of its objectives, through `train_tqr`.

    Each objective has a loss of its own, so sides agree on the tokens that each step computed.
    """
    training = Training(**plan)
    config = TqrUpdateConfig(
        objective=objective,
        training=_settings(training, None),
        limits=setting.limits,
        template=setting.template,
    )
    with tempfile.TemporaryDirectory() as scratch:
        groups = _groups(Path(scratch), setting, folder, 2, training)
        log = Halting(turns, setting, folder, training, (2, GROUPS), None, agree_on="tokens")
        work = Workspace(Path(scratch) / "training")
        train_tqr(folder / "policy", [groups], None, config, work, log, seed=0)


class Halting(NullLog):
    """A log that ends the side's turn after the last step of a block."""

    def __init__(
        self,
        turns: Turns,
        setting: Setting,
        folder: Path,
        training: Training,
        data: tuple[int, str],
        before: Callable[[list[EncodedGroup]], object] | None,
        model: str = "policy",
        agree_on: str = "loss",
    ) -> None:
        """Say what the steps work on.

        The data are the responses per group and the data set's name in the plan; `before` is done
        with the groups of a block at its beginning, in its time; `model`, policy or reward, is
        whose arithmetic is counted; sides agree on each step's `loss` or its computed `tokens`.
        """
        self.turns, self.training, self.before = turns, training, before
        self.plan, self.name = plan_of(training, data[1]), data[1]
        found = encoded(folder, setting, data[0], training.groups)
        self.groups = [found[row % len(found)] for row in range(training.groups)]
        self.model, self.agree_on = _shape(folder / model), agree_on
        self.done = Block()

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep the loss of a step, and how many tokens it computed."""
        if step and "loss" in metrics:
            rows = self._rows(step - 1)
            needed = sum(map(group_tokens, rows))
            computed = round(needed / (1 - metrics["padding_share"]))
            self.done.losses[step] = metrics["loss"] if self.agree_on == "loss" else computed
            self.done.units += len(rows)
            self.done.needed += needed
            self.done.computed += computed
            self.done.operations += self._operations(rows)

    def progress(self, done: int, total: int, unit: str) -> None:
        """End the turn where a block of steps ends, and begin the next block."""
        at = done - self.training.warm
        if unit != "steps" or at < 0 or at % self.training.block:
            return
        self.done.notes = {"matmul": best_matmul_rate(compute_device())}
        if at == 0:
            self.done = Block(losses=self.done.losses, notes=self.done.notes)
        self.turns.next(self.done)
        self.done = Block()
        if self.before is not None and done < total:
            last = min(total, done + self.training.block)
            self.before([group for step in range(done, last) for group in self._rows(step)])

    def _rows(self, step: int) -> list[EncodedGroup]:
        return [self.groups[row] for row in self.plan.at(step)[self.name]]

    def _operations(self, rows: list[EncodedGroup]) -> float:
        # Forward, twice that backward, and the reference's forward.
        passes = 3 if self.before is None else 4
        return 2.0 * passes * multiply_adds(self.model, pack(rows))


def _settings(training: Training, options: dict[str, Any] | None) -> TrainingConfig:
    return TrainingConfig(
        learning_rate=training.learning_rate,
        batch_size=training.batch,
        precision=training.precision,
        logging_steps=1,
        save_every=1_000_000,
        **(options or {}),
    )


def _groups(scratch: Path, setting: Setting, folder: Path, size: int, training: Training) -> Path:
    found = texts(folder, size, training.groups)
    repeated = (found[row % len(found)] for row in range(training.groups))
    write_groups(scratch / "groups", repeated)
    return scratch / "groups"


def _leave_out(without: str) -> None:
    if without == "kept_memory":
        vars(loop)["kept_memory"] = nullcontext


def _shape(folder: Path) -> Any:
    """Return the model without its weights: enough to count its arithmetic."""
    config = AutoConfig.from_pretrained(folder)
    is_reward = config.architectures[0].endswith("ForSequenceClassification")
    kind = AutoModelForSequenceClassification if is_reward else AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config)
