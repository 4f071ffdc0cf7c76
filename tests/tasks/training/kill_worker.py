"""Kills a training at each of its durable operations, resumes it, compares; prints a report.

Every training is a fork of this process, which has paid for the imports and uses one thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from tasks.settings.log import NullLog
from tasks.storage.faults import fault_count
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.policy_updates import train_policy

CONFIG = PolicyConfig(
    method="dpo",
    limits={"max_prompt_tokens": 40, "max_response_tokens": 40},
    training=TrainingConfig(
        learning_rate=1e-2,
        batch_size=6,
        micro_batch_size=6,
        num_train_epochs=2,
        dropout=0.2,
        save_every=2,
        keep_checkpoints=1,
    ),  # fmt: skip
)


def in_child(*arguments) -> tuple[int, str]:
    """Make an attempt in a fork; return the signal that ended it (0: none) and what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, attempt(*arguments).encode())
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a training failed")
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), answer


def attempt(folder: Path, number: int, policy: Path, data: Path, fault: str = "") -> str:
    """Train in attempt-NUMBER and return the digest of the weights."""
    os.environ["SPARRING_FAULT"] = fault
    workspace = Workspace(folder / f"attempt-{number}")
    workspace.adopt_parts([folder / f"attempt-{n}" for n in range(1, number)])
    train_policy(policy, policy, [data], CONFIG, workspace, NullLog(), seed=7)
    weights = (workspace.output / "model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest()


def main(policy: Path, data: Path, scratch: Path, stride: int) -> None:
    torch.set_num_threads(1)
    # In this process, so that the forks inherit what libraries import late. They go on counting
    # durable operations where it stops.
    expected = attempt(scratch / "whole", 1, policy, data)
    operations = fault_count()
    points = range(1, operations + 1, stride)
    killed, different = 0, []
    for at in points:
        folder = scratch / f"kill-{at}"
        ended, _ = in_child(folder, 1, policy, data, f"kill@{operations + at}")
        killed += ended == signal.SIGKILL
        found = in_child(folder, 2, policy, data)[1]
        if found != expected:
            different.append(at)
        shutil.rmtree(folder)
    report = {
        "operations": operations,
        "points": len(points),
        "killed": killed,
        "different": different,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
