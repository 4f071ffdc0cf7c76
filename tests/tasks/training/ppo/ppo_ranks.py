"""The tiny PPO training on several ranks, in each mode: whole, and stopped and resumed.

Run by torchrun with a folder that holds `policy` and `prompts`, and modes (`none`, `zero2`,
`zero3-lora` …); the main process prints a report. One process does all modes: importing takes
longer than training.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState

from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.checkpoint import checkpoint_names
from tasks.training.distributed.interruption import TrainingInterrupted
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.ranks import gather, is_main, rank
from tasks.training.ppo import models
from tasks.training.ppo.config import PpoConfig
from tasks.training.ppo.trainer import fit
from tests.tasks.training.ppo.tiny_ppo import SETTINGS, LetterScorer, digest_of_files

PARTS: dict[str, dict[str, Any]] = {
    "": {},
    "lora": {"lora": {"rank": 2, "alpha": 8}},
    "last": {"trainable_layers": 1},
}
# AdamW moves a weight whose gradient is near zero by the whole rate, either way: it is small.
STEPS = {
    "total_steps": 3,
    "save_every": 1,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
}


class Counting(NullLog):
    """Keeps every point of the curves."""

    def __init__(self) -> None:
        self.points: dict[int, dict[str, float]] = {}

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.points[step or 0] = metrics


class Stopping(LetterScorer):
    """Asks one rank to stop when it scores for the second time."""

    def __init__(self) -> None:
        self.left = 2

    def score(self, groups: Any) -> Any:
        self.left -= 1
        if self.left == 0 and rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().score(groups)


def train(root: Path, folder: Path, mode: str, scorer: Any, log: Any) -> dict[str, float]:
    """Train in a workspace that every rank shares."""
    zero, _, part = mode.partition("-")
    config = PpoConfig(
        **(SETTINGS | STEPS | PARTS[part]),
        processes=2,
        deepspeed=None if zero == "none" else zero,
        gradient_checkpointing=True,
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    models.open_scorer = lambda *args: scorer
    job = TrainingJob(
        kind="ppo",
        model=root / "policy",
        config=config.model_dump(mode="json"),
        inputs={"scorer": root, "prompts": root / "prompts", "reference": root / "policy"},
        seed=3,
    )
    return fit(job, Workspace(folder), log if is_main() else NullLog())


def report_of(root: Path, folder: Path, mode: str) -> dict[str, Any]:
    """Train whole; train and stop; resume what was stopped."""
    log, stopped = Counting(), ""
    metrics = train(root, folder / "whole", mode, LetterScorer(), log)
    try:
        train(root, folder / "attempt-1", mode, Stopping(), NullLog())
    except TrainingInterrupted as error:
        stopped = str(error)
    kept = checkpoint_names(Workspace(folder / "attempt-1"))
    if is_main():
        Workspace(folder / "attempt-2").adopt_parts([folder / "attempt-1"])
    gather(None)
    resumed = train(root, folder / "attempt-2", mode, LetterScorer(), NullLog())
    return {
        "metrics": metrics,
        "same_metrics": metrics == resumed,
        "stopped": stopped,
        "kept": kept,
        "whole": digest_of_files(folder / "whole" / "output"),
        "resumed": digest_of_files(folder / "attempt-2" / "output"),
        "points": log.points,
    }


def main(root: Path, scratch: Path, modes: list[str]) -> None:
    torch.set_num_threads(1)
    reports = {mode: report_of(root, scratch / mode, mode) for mode in modes}
    if is_main():
        (scratch / "report.json").write_text(json.dumps(reports))
    # As the product's workers do: a rank that only exits may abort under its own threads.
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
