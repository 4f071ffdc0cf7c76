"""What other processes take of the machine meanwhile: a row measured beside them says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psutil

LOADED = 0.1
"""Share of the processors; where others use more, the machine counts as loaded."""


class Used(NamedTuple):
    """Seconds of all processors since the machine began."""

    possible: float
    """Busy or not."""
    busy: float
    """By anything, the machine's host included."""
    own: float
    """By this process and its children."""


class Load:
    """The share of the processors that others use, from its making on."""

    def __init__(self, read: Callable[[], Used] | None = None) -> None:
        """Begin to count; `read` gives the counters."""
        self._read = read or used
        self._before = self._read()

    def of_others(self) -> float:
        """Return the share so far, from 0 to 1."""
        possible, busy, own = (
            after - before for after, before in zip(self._read(), self._before, strict=True)
        )
        return min(1.0, max(0.0, busy - own) / possible) if possible > 0 else 0.0


def used() -> Used:
    """Read the machine's counters and those of this process and its children."""
    times = psutil.cpu_times()
    resting = times.idle + getattr(times, "iowait", 0.0)
    # Guests' time is within that of `user` and `nice`.
    counted = ("user", "nice", "system", "irq", "softirq", "steal")
    busy = sum(getattr(times, name, 0.0) for name in counted)
    me, own = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            spent = process.cpu_times()
            # What has ended is in its parent's share of children.
            own += spent.user + spent.system + spent.children_user + spent.children_system
    return Used(busy + resting, busy, own)
