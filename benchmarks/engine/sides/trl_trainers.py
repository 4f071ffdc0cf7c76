"""TRL's own trainers as sides: one real `train()`, halted between its steps by a callback."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    TrainerCallback,
)

from benchmarks.engine.setting import Setting, encoded
from benchmarks.engine.sides.padded_path import count_padded
from benchmarks.engine.sides.training_plan import Training, micro_batches, ordered
from benchmarks.engine.worker import Block, Turns
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.training.updates.reference_logps import SET
from tasks.training.updates.reward_model import PREFERENCES


def dpo(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    micro_batch: int,
    by_length: bool,
    checkpointing: bool,
    precomputed: bool,
    **plan: Any,
) -> None:
    """Train by TRL's DPOTrainer, its reference a second model.

    Each step computes the reference too, or a pass before the first step did: a block has its
    share of that.
    """
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        """Takes ids as they are: both sides train on exactly the same tokens."""

        spent = 0.0

        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *arguments: Any) -> Any:
            began = time.perf_counter()
            found = super()._precompute_ref_logps(*arguments)
            self.spent = time.perf_counter() - began
            return found

    training = Training(**plan)
    found = encoded(folder, setting, 2, training.groups)
    groups = [found[row] for row in ordered(found, training, SET, by_length=by_length)]
    options = _arguments(training, micro_batch, checkpointing)
    halting = _halting(turns, training, groups, micro_batch)
    with tempfile.TemporaryDirectory() as output:
        trainer = Trainer(
            model=_policy(folder / "policy"),
            ref_model=_policy(folder / "reference"),
            args=DPOConfig(output, beta=0.1, precompute_ref_log_probs=precomputed, **options),
            train_dataset=Dataset.from_list([_prompt_row(group) for group in groups]),
            processing_class=load_tokenizer(folder / "policy"),
            callbacks=[halting],
        )
        if precomputed:
            trainer.ref_model = None
            halting.before = trainer.spent / training.groups
        trainer.train()


def reward(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    micro_batch: int,
    by_length: bool,
    checkpointing: bool,
    **plan: Any,
) -> None:
    """Train by TRL's RewardTrainer."""
    from trl import RewardConfig, RewardTrainer

    training = Training(**plan)
    found = encoded(folder, setting, 2, training.groups)
    groups = [found[row] for row in ordered(found, training, PREFERENCES, by_length=by_length)]
    options = _arguments(training, micro_batch, checkpointing)
    with tempfile.TemporaryDirectory() as output:
        trainer = RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(folder / "reward"),
            args=RewardConfig(output, **options),
            train_dataset=Dataset.from_list([_whole_row(group) for group in groups]),
            processing_class=load_tokenizer(folder / "policy"),
            callbacks=[_halting(turns, training, groups, micro_batch)],
        )
        trainer.train()


def _policy(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder)


def _arguments(training: Training, micro_batch: int, checkpointing: bool) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": training.batch // micro_batch,
        "max_steps": training.steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "bf16": training.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": checkpointing,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


def _halting(turns: Turns, training: Training, groups: list[EncodedGroup], micro_batch: int) -> Any:
    """Return the callback that waits for this side's turn where a block of steps begins.

    A block lasts from one such place to the next, so fetching and padding the batches is in it.
    """

    class Halting(TrainerCallback):
        losses: dict[int, float] = {}
        # Seconds per group spent before the first step.
        before = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            done = state.global_step - training.warm
            if done >= 0 and done % training.block == 0:
                turns.next(self._block(state.global_step))

        def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            turns.next(self._block(state.global_step))

        def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            logs = others.get("logs") or {}
            if "loss" in logs:
                self.losses[state.global_step] = float(logs["loss"])

        def _block(self, step: int) -> Block:
            block = Block(losses=dict(self.losses))
            for at in range(max(training.warm, step - training.block), step):
                for rows in micro_batches(training, at, micro_batch):
                    count_padded(block, groups[rows])
            block.spent_before = self.before * block.units
            self.losses.clear()
            return block

    return Halting()


def _prompt_row(group: EncodedGroup) -> dict[str, list[int]]:
    chosen, rejected = group.responses_ids
    return {"prompt_ids": group.prompt_ids, "chosen_ids": chosen, "rejected_ids": rejected}


def _whole_row(group: EncodedGroup) -> dict[str, list[int]]:
    chosen, rejected = group.responses_ids
    return {"chosen_ids": group.prompt_ids + chosen, "rejected_ids": group.prompt_ids + rejected}
