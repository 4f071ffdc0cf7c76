"""Kills a training at its durable operations, resumes it, compares; prints a report.

Every process of a training is a fork of this one, which has paid for the imports and uses one
thread. With a ZeRO mode two of them train together and the main one is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import torch

from tasks.storage import faults
from tasks.training.distributed.ranks import is_main
from tests.tasks.training.toy import SETTINGS, digest_of, toy_model, toy_training

FILES = ("write", "link")


def attempt(folder: Path, number: int, settings: dict) -> str:
    """Train in attempt-NUMBER and return the digest of the weights."""
    earlier = [folder / f"attempt-{n}" for n in range(1, number)]
    adopt = int(os.environ.get("RANK", "0")) == 0
    model = toy_model()
    weights = toy_training(
        folder / f"attempt-{number}", earlier=earlier, model=model, adopt=adopt, **settings
    )[1]
    return digest_of(weights) if is_main() else ""


def in_children(folder: Path, number: int, settings: dict, fault: str = "") -> tuple[bool, str]:
    """Make an attempt in forks; return whether the main one was killed, and what it returned."""
    ranks = settings.get("processes", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reader, writer = os.pipe()
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            os.close(reader)
            if ranks > 1:
                names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
                values = (rank, rank, ranks, ranks)
                os.environ |= {key: str(value) for key, value in zip(names, values, strict=True)}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ["SPARRING_FAULT"] = fault if rank == 0 else ""
            status = 1
            try:
                answer = attempt(folder, number, settings)
                os.write(writer, answer.encode())
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(writer)
    ended = os.waitpid(children[0], 0)[1]
    for child in children[1:]:
        # Torchrun does this; its own part is tested in test_launch.py.
        if os.WIFSIGNALED(ended):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    killed = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
    if not killed and (os.WEXITSTATUS(ended) or not answer):
        raise RuntimeError(f"a training failed in {folder}, attempt {number}")
    return killed, answer


def operations_of(folder: Path, settings: dict) -> tuple[list[str], str]:
    """Train undisturbed; return the name of every durable operation, and the weights' digest."""
    names = folder / "names.json"
    folder.mkdir(parents=True)

    def note(request: str, number: int, name: str) -> None:
        noted.append(name)
        names.write_text(json.dumps(noted))

    noted: list[str] = []
    real, faults._act = faults._act, note
    try:
        digest = in_children(folder, 1, settings, "kill@0")[1]
    finally:
        faults._act = real
    return json.loads(names.read_text()), digest


def main(mode: str, scratch: Path, every: bool) -> None:
    torch.set_num_threads(1)
    settings = dict(SETTINGS)
    if mode != "none":
        settings |= {"deepspeed": mode, "processes": 2}
        from tasks.training.distributed.deepspeed_engine import deepspeed_module

        deepspeed_module()
    toy_model()
    names, expected = operations_of(scratch / "whole", settings)
    points = [at for at, name in enumerate(names, start=1) if every or name.split()[0] in FILES]
    killed, different = 0, []
    for at in points:
        folder = scratch / f"kill-{at}"
        killed += in_children(folder, 1, settings, f"kill@{at}")[0]
        if in_children(folder, 2, settings)[1] != expected:
            different.append(names[at - 1])
        shutil.rmtree(folder)
    report = {
        "files": sorted({name for name in names if name.split()[0] in FILES}),
        "points": len(points),
        "killed": killed,
        "different": different,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "every")
