"""How busy this machine is: processors, memory and GPUs, by the names under which MLflow shows it.

MLflow's own monitor writes to its server from a thread, past whatever keeps records while that
server is down; so what it would measure is measured here, and goes the way of all other metrics.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import psutil

PREFIX = "system/"
"""What the names begin with; MLflow has a page of their own for them."""
_EVERY_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0
_ASKED = "index,utilization.gpu,memory.used,memory.total,power.draw"
_GPUS = ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"]
_MIB = 2**20


class MachineMeter:
    """Measures the machine every ten seconds at the most."""

    def __init__(self) -> None:
        self._next = 0.0
        self._has_gpus = True
        psutil.cpu_percent()  # what comes next is the mean since this

    def sample(self) -> dict[str, float]:
        """Return how busy it is, in percent, megabytes and watts; empty while it is not time yet.

        The processors' share is a mean since the last sample, all else is as of now.
        """
        if time.monotonic() < self._next:
            return {}
        self._next = time.monotonic() + _EVERY_SECONDS
        memory = psutil.virtual_memory()
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / 1e6,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
        }
        found |= dict(self._gpus()) if self._has_gpus else {}
        return {f"{PREFIX}{name}": value for name, value in found.items()}

    def _gpus(self) -> Iterator[tuple[str, float]]:
        """Yield what each GPU says; what it does not, as the power of some, is left out."""
        try:
            told = subprocess.run(
                _GPUS, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS
            ).stdout
        except (OSError, subprocess.SubprocessError):
            self._has_gpus = False
            return
        for line in told.splitlines():
            index, *values = (word.strip() for word in line.split(","))
            busy, used, total, power = map(_number, values)
            yield from _said(f"gpu_{index}_utilization_percentage", busy)
            yield from _said(f"gpu_{index}_power_usage_watts", power)
            if used is not None and total:
                yield f"gpu_{index}_memory_usage_megabytes", used * _MIB / 1e6
                yield f"gpu_{index}_memory_usage_percentage", 100 * used / total


def _number(word: str) -> float | None:
    """Return a number that nvidia-smi printed; it prints `[N/A]` for what it does not know."""
    try:
        return float(word)
    except ValueError:
        return None


def _said(name: str, value: float | None) -> Iterator[tuple[str, float]]:
    if value is not None:
        yield name, value
