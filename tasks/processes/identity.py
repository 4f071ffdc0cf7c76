"""Which process is meant, beyond its number, which the system gives to another one later."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be recognised, and found dead, by another one on the same machine."""

    pid: int
    """Its number."""
    started: int
    """Clock ticks from the machine's start to its own."""
    boot: str
    """The machine's boot it belongs to."""
    namespace: str
    """The process namespace (a container's own) in which the number counts."""
    host: str
    """The machine's name, for messages."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ProcessIdentity:
        """Read what `to_json` returned."""
        return cls(**values)

    def is_local(self) -> bool:
        """Tell whether this process could see that one if it lived."""
        here = current_process()
        return (self.boot, self.namespace) == (here.boot, here.namespace)

    def is_known_dead(self) -> bool:
        """Tell whether that process surely ended; False when it cannot be seen from here."""
        return self.is_local() and _start_ticks(self.pid) != self.started

    def __str__(self) -> str:
        """Name it in a message."""
        return f"process {self.pid} on {self.host}"


def current_process() -> ProcessIdentity:
    """Return this process; right after a fork as well."""
    return _identify(os.getpid())


def who_asks() -> str:
    """Return who uses this machine, `USER@HOST`; a user without a name by number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # as in a container that was given a bare number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def machine_seconds() -> float:
    """Return seconds since the machine's start: a clock that nobody sets, counting sleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@lru_cache(maxsize=4)
def _identify(pid: int) -> ProcessIdentity:
    """Collect what identifies a process of this namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = os.readlink("/proc/self/ns/pid")
    return ProcessIdentity(pid, _start_ticks(pid), boot, namespace, socket.gethostname())


def _start_ticks(pid: int) -> int:
    """Return when a process started, or -1 if there is none or it only waits to be reaped."""
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    # The program's name, in parentheses, may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return -1 if fields[0] in ("Z", "X") else int(fields[19])
