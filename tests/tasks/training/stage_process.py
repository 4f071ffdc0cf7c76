"""A process that stands for a stage: launches a training of two processes and tells what it hears.

Arguments: the policy's folder, the data's folder, a scratch folder, epochs, nodes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tasks.settings.errors import SparringError
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.distributed.interruption import TrainingInterrupted
from tasks.training.updates.policy import train_policy


class Telling:
    """A log on standard output."""

    def __call__(self, metrics, step=None) -> None:
        print("step", step, metrics.get("loss"), flush=True)

    def note(self, text: str) -> None:
        print("note", text, flush=True)

    def progress(self, done: int, total: int, unit: str) -> None:
        pass


def main(policy: Path, data: Path, scratch: Path, epochs: int, nodes: int) -> None:
    config = PolicyConfig(
        limits={"max_prompt_tokens": 40, "max_response_tokens": 40},
        training=TrainingConfig(
            learning_rate=1e-3,
            batch_size=4,
            num_train_epochs=epochs,
            logging_steps=1,
            save_every=1000,
            precision="fp32",
            processes=2 // nodes,
            nodes=nodes,
        ),  # fmt: skip
    )
    try:
        metrics = train_policy(policy, None, [data], config, Workspace(scratch), Telling(), seed=0)
        print("done", metrics["samples_seen"], flush=True)
    except (SparringError, TrainingInterrupted) as error:
        print(type(error).__name__, error, flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:6]))
