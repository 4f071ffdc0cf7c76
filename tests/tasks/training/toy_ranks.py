"""The toy training on several ranks, in each mode: whole, and stopped and resumed.

Run by torchrun with a scratch folder and modes (`none`, `zero1`, `zero3-last`, `none-lora` …); the
main process prints a report. One process does all modes: importing takes longer than training.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState

from tasks.settings.errors import StageError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import checkpoint_names
from tasks.training.config import TrainingConfig
from tasks.training.distributed.interruption import TrainingInterrupted
from tasks.training.distributed.opening import loading_context
from tasks.training.distributed.ranks import gather, is_main, rank, world_size
from tasks.training.scale import LoraConfig
from tasks.training.weights.last_layers import freeze_below
from tasks.training.weights.lora import Adapter
from tests.tasks.training.toy import ToyTask, digest_of, ready, toy_model, toy_training

DISTURBED_PASS = 3
KINDS = {False: "policy", True: "reward"}


class Disturbed(ToyTask):
    """Does something in one forward pass of the last rank alone."""

    def __init__(self, at_pass: int, disturb) -> None:
        super().__init__()
        self.left, self.disturb = at_pass, disturb

    def loss(self, model, batch, counts):
        loss, metrics = super().loss(model, batch, counts)
        self.left -= 1
        if rank() == world_size() - 1 and not self.left:
            loss = self.disturb(loss)
        return loss, metrics


def ask_to_stop(loss):
    os.kill(os.getpid(), signal.SIGTERM)
    return loss


class Counting(NullLog):
    """Keeps every point of the curves."""

    def __init__(self) -> None:
        self.points: dict[int, dict[str, float]] = {}

    def __call__(self, metrics, step=None) -> None:
        self.points[step] = metrics


def report_of(mode: str, folder: Path, base: Path) -> dict:
    """Train whole; train and stop; train into a NaN; resume what was stopped."""
    zero, _, part = mode.partition("-")
    settings = {"deepspeed": None if zero == "none" else zero, "processes": 2}
    if scores := part == "head":
        settings["head_learning_rate"] = 1e-1
    config = TrainingConfig(**settings)

    def model():
        AcceleratorState._reset_state(reset_partial_state=True)
        if zero == "zero3":
            from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

            kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
            with loading_context(config):
                found = ready(kind.from_pretrained(base / KINDS[scores]))
        else:
            found = toy_model(scores=scores)
        if part == "last":
            freeze_below(found.model, 1)
        elif part == "lora":
            Adapter(found.model, LoraConfig(rank=2), seed=0)
        return found

    log = Counting()
    metrics, weights = toy_training(folder / "whole", log, model=model(), **settings)
    stopped = ""
    try:
        task = Disturbed(DISTURBED_PASS, ask_to_stop)
        toy_training(folder / "attempt-1", model=model(), task=task, **settings)
    except TrainingInterrupted as error:
        stopped = str(error)
    if is_main():
        Workspace(folder / "attempt-2").adopt_parts([folder / "attempt-1"])
    try:
        task = Disturbed(DISTURBED_PASS, lambda loss: loss * float("nan"))
        toy_training(folder / "spoiled", model=model(), task=task, **settings)
    except StageError as error:
        spoiled = gather(str(error))
    start = toy_model(scores=scores).model.state_dict()
    moved = {n: (v - start[n]).abs().mean().item() for n, v in weights.items() if n in start}
    resumed = toy_training(folder / "attempt-2", model=model(), adopt=False, **settings)
    return {
        "metrics": metrics,
        "same_metrics": metrics == resumed[0],
        "weights": digest_of(weights),
        "resumed": digest_of(resumed[1]),
        "stopped": stopped,
        "spoiled": spoiled,
        "kept_when_spoiled": checkpoint_names(Workspace(folder / "spoiled")),
        "kept": checkpoint_names(Workspace(folder / "attempt-2")),
        "points": log.points,
        "values": {name: value.double().sum().item() for name, value in weights.items()},
        "moved": moved,
    }


def main(scratch: Path, modes: list[str]) -> None:
    base = scratch / f"base-{os.environ['RANK']}"
    for scores, kind in KINDS.items():
        toy_model(scores=scores).model.save_pretrained(base / kind)
    reports = {mode: report_of(mode, scratch / mode, base) for mode in modes}
    if is_main():
        (scratch / "report.json").write_text(json.dumps(reports))
    # As the product's workers do: a rank that only exits may abort under its own threads.
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
