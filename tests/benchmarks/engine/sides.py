"""Sides for the tests of the harness: they sleep instead of computing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.engine.worker import Block, Turns


def steady(
    turns: Turns, setting: Any, folder: Path, *, name: str, seconds: float, loss: float = 1.0
) -> None:
    """Take as long for every block, and write down whose turn it was."""
    number, done = 0, Block(losses={0: loss})
    while True:
        turns.next(done)
        number += 1
        with open(folder / "order", "a") as order:
            order.write(name)
        time.sleep(seconds)
        print("what libraries print must not reach the parent")
        done = Block(units=10, computed=20, needed=15, operations=100.0, losses={number: loss})
        done.notes = {"matmul": 1e5}


def breaking(turns: Turns, setting: Any, folder: Path) -> None:
    """End with an error in the first block."""
    turns.next()
    raise ValueError("this side cannot go on")


def stuck(turns: Turns, setting: Any, folder: Path) -> None:
    """Never come to an end."""
    turns.next()
    time.sleep(600)


def prepared(turns: Turns, setting: Any, folder: Path) -> None:
    """Say that much of the work was done before."""
    turns.next()
    turns.next(Block(units=1, spent_before=100.0))


def killed(turns: Turns, setting: Any, folder: Path) -> None:
    """End as where memory runs out."""
    turns.next()
    os.kill(os.getpid(), signal.SIGKILL)
