"""What computes: the memory and the speed of this machine, or of a GPU by its name."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil

from tasks.settings.errors import ConfigError, did_you_mean


class Machine(NamedTuple):
    """One device and what it can do."""

    name: str
    """What to call it."""
    memory: float
    """Bytes that one process may hold."""
    flops: float
    """Multiplications and additions a second that a training reaches."""
    bandwidth: float
    """Bytes a second that it reads from its memory."""
    bf16: bool
    """Whether `precision: auto` is bf16 there."""


_REACHED = 0.4
"""Share of the best matrix product's rate that a training reaches (docs/results)."""
_USABLE = 0.95
"""Share of a GPU's memory that a process gets: the rest is the driver's and the allocator's."""
_GPUS = {
    # Memory in GB, bf16 without sparsity in TFLOP/s, bandwidth in TB/s: the maker's data sheets.
    "a10": (24, 125, 0.6),
    "a100-40": (40, 312, 1.56),
    "a100-80": (80, 312, 2.0),
    "b200": (180, 2250, 8.0),
    "h100": (80, 989, 3.35),
    "h200": (141, 989, 4.8),
    "l4": (24, 121, 0.3),
    "l40s": (48, 362, 0.86),
    "rtx-4090": (24, 165, 1.0),
}


def named_machine(name: str) -> Machine:
    """Return a GPU by name, as `--device` takes it; `h100:64` is one of which 64 GB are free.

    Raises:
        ConfigError: It is not known.
    """
    kind, _, given = name.partition(":")
    if kind not in _GPUS or (given and not given.isdigit()):
        raise ConfigError(f"--device {name!r} is no GPU that is known{did_you_mean(kind, _GPUS)}")
    memory, flops, bandwidth = _GPUS[kind]
    usable = float(given) if given else memory * _USABLE
    return Machine(name, usable * 1e9, flops * 1e12 * _REACHED, bandwidth * 1e12, bf16=True)


def this_machine() -> Machine:
    """Return this machine's GPU, or the machine itself where it has none; takes about a second."""
    import torch

    from tasks.models.groups.flops import best_matmul_rate
    from tasks.models.precision import uses_bf16

    bf16 = uses_bf16("auto")
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    flops = best_matmul_rate(kind, torch.bfloat16 if bf16 else torch.float32) * _REACHED
    if kind == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return Machine(torch.cuda.get_device_name(), free, flops, _bandwidth(kind), bf16)
    memory = psutil.virtual_memory().available
    return Machine("this machine", memory, flops, _bandwidth(kind), bf16)


def _bandwidth(kind: str) -> float:
    """Measure how fast a large tensor is read, bytes a second."""
    import torch

    data, best = torch.ones(1 << 25, device=kind), 0.0
    for _ in range(3):
        begun = time.perf_counter()
        data.sum().item()
        best = max(best, data.nbytes / (time.perf_counter() - begun))
    return best
