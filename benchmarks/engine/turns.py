"""Both sides of a row in turn, A B A B …: ratios of neighbours, their median and spread."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine.load import Load
from benchmarks.engine.peers import Side
from benchmarks.engine.search import SideError
from benchmarks.engine.setting import ROOT, Setting

_PATIENCE = 20.0  # seconds a worker has to leave after its input ended


class Worker:
    """A side of a row in a process of its own."""

    def __init__(self, side: Side, setting: Setting, folder: Path, log: Path) -> None:
        """Start the side's process; `loaded` waits until it is warm."""
        self.name, self._log = side.name, log
        self._output = open(log, "wb")
        self._process = subprocess.Popen(
            [side.python, "-m", "benchmarks.engine.worker", side.function]
            + [setting.model_dump_json(), str(folder), json.dumps(side.options)],
            cwd=ROOT,
            env=os.environ | side.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
        )

    def loaded(self) -> dict[str, Any]:
        """Wait until the side is warm; return its first answer."""
        return self._answer()

    def block(self, command: str = "go") -> dict[str, Any]:
        """Let the side work one block; return what it did."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Worker:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End the process: by the end of its input, or else by force."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._output.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            tail = self._log.read_text("utf-8", errors="replace")[-3000:]
            last = (tail.strip().splitlines() or [f"ended with {code}"])[-1].strip()[:120]
            if code == -signal.SIGKILL:
                last = "killed, as by the system where memory runs out"
            raise SideError(f"{self.name} ended with {code}:\n{tail}", last)
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Measured:
    """What one side did over all of its blocks."""

    rates: list[float] = field(default_factory=list)
    """Units per second, by block."""
    operations: list[float] = field(default_factory=list)
    """Useful operations per second, by block."""
    computed: int = 0
    needed: int = 0
    peak_gb: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, answer: dict[str, Any]) -> None:
        """Take in one block."""
        self.rates.append(answer["units"] / answer["seconds"])
        self.operations.append(answer["operations"] / answer["seconds"])
        self.computed += answer["computed"]
        self.needed += answer["needed"]
        self.note(answer)

    def note(self, answer: dict[str, Any]) -> None:
        """Take in what is not timed."""
        self.peak_gb = max(self.peak_gb, answer["peak_gb"])
        self.losses |= answer["losses"]
        self.notes |= answer["notes"]

    @property
    def waste(self) -> float | None:
        """Share of the computed tokens that nobody needed; None where they were not counted."""
        return 1 - self.needed / self.computed if self.computed else None


def in_turn(
    ours: Callable[[], Worker],
    peer: Callable[[], Worker] | None,
    *,
    pairs: int,
    most: int,
    spread: float = 0.1,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Measured, Measured, float]:
    """Time two sides alternately; the first block of either is not counted.

    Args:
        ours: starts side A; nothing else is loaded while a side loads.
        peer: starts side B; None where it is not installed.
        pairs: fewest pairs of blocks.
        most: pairs after which it ends even if the ratios still spread.
        spread: (largest - smallest) / median of the ratios that is narrow enough.
        say: told about progress.

    Returns:
        Side A, side B, and the share of the processors that other processes used meanwhile.
    """
    sides: list[tuple[Worker, Measured]] = []
    for start in (ours, peer):
        if start is not None:
            worker, measured = start(), Measured()
            sides.append((worker, measured))
            measured.note(worker.loaded())
            measured.note(worker.block())
            say(f"{worker.name} is warm")
    a, b = sides[0][1], sides[-1][1] if len(sides) > 1 else Measured()
    load = Load()
    while len(a.rates) < pairs or (
        b.rates and len(a.rates) < most and _spread(ratios(a, b)) > spread
    ):
        for worker, measured in sides:
            measured.add(worker.block())
        rates = " against ".join(f"{measured.rates[-1]:.2f}" for _, measured in sides)
        say(f"pair {len(a.rates)}: {rates} a second")
    return a, b, load.of_others()


def ratios(a: Measured, b: Measured) -> list[float]:
    """Return how many times as fast A was as B, pair by pair."""
    return [mine / theirs for mine, theirs in zip(a.rates, b.rates, strict=True)]


def disagreement(a: dict[str, float], b: dict[str, float]) -> tuple[float, int]:
    """Return how far apart the values are that both sides have, and how many these are.

    The largest difference, relative to the value or, where that is small, to the mean magnitude:
    a reward may be close to 0.

    Example:
        >>> disagreement({"1": 2.0, "2": 1.0}, {"1": 2.5})
        (0.2, 1)
    """
    shared = sorted(set(a) & set(b))
    if not shared:
        return 0.0, 0
    mean = sum(abs(b[key]) for key in shared) / len(shared)
    scales = {key: max(abs(b[key]), mean, 1e-12) for key in shared}
    differences = [abs(a[key] - b[key]) / scales[key] for key in shared]
    # `max` may pass over a value that is not a number.
    return (math.nan if any(map(math.isnan, differences)) else max(differences)), len(shared)


def _spread(found: list[float]) -> float:
    return (max(found) - min(found)) / median(found)
