"""One side of a row, in a process of its own: loads, warms up, then works a block when told to.

The parent writes one line per block; the answer is one line of JSON. The end of the input, which a
parent that dies also brings about, ends the process at its next turn.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from benchmarks.engine.setting import Setting


class Stopped(BaseException):
    """The parent wants no more; not an Exception, so that no library catches it."""


@dataclass
class Block:
    """What a side did in one turn."""

    units: float = 0.0
    """Groups, prompts or tokens: the row's unit."""
    computed: int = 0
    """Tokens that went through the model."""
    needed: int = 0
    """Tokens that had to: each prompt of a group once, each response token once, no pads."""
    operations: float = 0.0
    """Floating-point operations that the needed tokens take: two per multiply-add."""
    losses: dict[int, float] = field(default_factory=dict)
    """What both sides must agree on: loss by step, or another value by place."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Anything else, for the table."""
    spent_before: float = 0.0
    """Seconds spent on this block's work before the first one began."""


class Turns:
    """The clock of a side: it runs only while it is this side's turn."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        """Talk to the parent over two streams of lines."""
        self._commands, self._answers = commands, answers
        self._began: float | None = None
        self._profiler: Any = None

    def next(self, done: Block | None = None) -> None:
        """End a turn and wait for the next; the first call says that the side is warm.

        Raises:
            Stopped: there is no next turn.
        """
        synchronise()
        seconds = 0.0 if self._began is None else time.perf_counter() - self._began
        done = done or Block()
        answer = asdict(done) | {"seconds": seconds + done.spent_before, "peak_gb": peak_gb()}
        if self._profiler is not None:
            self._profiler.stop()
            answer["profile"] = profile_table(self._profiler)
            self._profiler = None
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
        command = self._commands.readline().strip()
        if not command:
            raise Stopped
        if command == "profile":
            self._profiler = started_profiler()
        self._began = time.perf_counter()


def peak_gb() -> float:
    """Return the most memory the process has held: of the GPU where it used one, else resident.

    0 where the system does not say.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 1e9
    # Not `ru_maxrss`, which begins with what the parent held.
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 / 1e9 if found else 0.0
    return 0.0


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def started_profiler() -> Any:
    """Return torch's profiler, running."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(ProfilerActivity.CUDA)
    profiler = profile(activities=kinds)
    profiler.start()
    return profiler


def profile_table(profiler: Any) -> str:
    """Return where the time went, by operator."""
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    averages = profiler.key_averages()
    return averages.table(sort_by=f"self_{kind}_time_total", row_limit=25, max_name_column_width=48)


def main() -> None:
    """Run the side that the first argument names: `module:function`."""
    place, setting, folder, options = sys.argv[1:]
    # Libraries print to stdout; the answers go over a copy that they do not know.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with suppress(OSError):
        # Where memory runs out, it is this process that the system ends.
        Path("/proc/self/oom_score_adj").write_text("1000")
    module, function = place.split(":")
    side = getattr(import_module(module), function)
    try:
        models = Setting.model_validate_json(setting)
        side(Turns(sys.stdin, answers), models, Path(folder), **json.loads(options))
    except Stopped:
        # Nothing is left to save, and what libraries do at exit is not worth waiting for.
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
