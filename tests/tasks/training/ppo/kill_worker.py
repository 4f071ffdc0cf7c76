"""Kills a PPO training again and again, resumes it each time, compares; prints a report.

Every attempt is a fork of this process, which has paid for the imports and uses one thread. Some
attempts are killed at a durable operation of a checkpoint, some in the middle of a step's
computation.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from tasks.settings.log import NullLog
from tasks.storage import faults
from tests.tasks.training.ppo.tiny_ppo import (
    LetterScorer,
    digest_of_files,
    train_tiny,
    write_policy,
    write_prompts,
)

STEPS = 12


class DeadlyScorer(LetterScorer):
    """Kills its process at one of its calls: after the draw, before anything is learned."""

    def __init__(self, at: int) -> None:
        self._left = at

    def score(self, groups):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(groups)


class DeadlyLog(NullLog):
    """Kills its process when it hears of a step: after learning, before a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def __call__(self, metrics, step=None):
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def attempt(root: Path, number: int, kill: tuple[str, int] | None) -> bool:
    """Make an attempt in a fork; return whether it was killed."""
    kind, at = kill or ("", 0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if kind == "file":
                # Counted from here, not from when this process's parent began.
                os.environ["SPARRING_FAULT"] = f"kill@{faults.fault_count() + at}"
            train_tiny(
                root,
                f"attempt-{number}",
                log=DeadlyLog(at) if kind == "step" else None,
                scorer=DeadlyScorer(at) if kind == "draw" else None,
                earlier=[root / f"attempt-{n}" for n in range(1, number)],
                total_steps=STEPS,
                snapshots=3,
            )
            status = 0
        finally:
            os._exit(status)
    ended = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(ended):
        return os.WTERMSIG(ended) == signal.SIGKILL
    if os.WEXITSTATUS(ended):
        raise RuntimeError(f"attempt {number} of {root} failed")
    return False


def main(scratch: Path, kills: list[tuple[str, int]]) -> None:
    torch.set_num_threads(1)
    for name in ("whole", "killed"):
        write_policy(scratch / name / "policy")
        write_prompts(scratch / name / "prompts")
    attempt(scratch / "whole", 1, None)
    killed = [
        attempt(scratch / "killed", number, kill) for number, kill in enumerate(kills, start=1)
    ]
    last = len(kills) + 1
    attempt(scratch / "killed", last, None)
    expected = digest_of_files(scratch / "whole" / "attempt-1" / "output")
    found = digest_of_files(scratch / "killed" / f"attempt-{last}" / "output")
    print(json.dumps({"killed": sum(killed), "same": found == expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [(kind, int(at)) for kind, at in json.loads(sys.argv[2])])
