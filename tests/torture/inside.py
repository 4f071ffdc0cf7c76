"""What a tortured command is: `sparring`, whose durable operations are written down, or fail.

`SPARRING_TORTURE` says by JSON what is to happen; without it this is the command itself. Unlike
SPARRING_FAULT, which counts, a fault is named by its stage and kind, so that background threads
do not shift it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

VARIABLE = "SPARRING_TORTURE"
OUTSIDE = "outside"
"""Stands for the stage of what no stage does: the records of a run, of its end, of trackers."""
_WORDS = ("fsync directory", "fsync", "rename to", "mkdir", "remove", "write", "link",
          "append to", "dvc add")  # fmt: skip
_DRAWN = re.compile(r"[0-9a-f]{8,}|\d+|\.?tmp[-._]\w+")
_lock = threading.Lock()


def word_of(name: str) -> str:
    """Return the kind of a durable operation: the words before the file."""
    return next((word for word in _WORDS if name.startswith(f"{word} ")), name)


def kind_of(name: str) -> str:
    """Return an operation's name without what differs from run to run: numbers, digests."""
    return _DRAWN.sub("#", name)


def call_now() -> str:
    """Return the stage and key in whose attempt this thread is, as STAGE/KEY, or OUTSIDE."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_attempt" and code.co_filename.endswith("stages/stage.py"):
            call = frame.f_locals["call"]
            return f"{call.spec.name}/{call.key}"
        frame = frame.f_back
    return OUTSIDE


class Recorder:
    """Appends each operation to a file, as `STAGE/KEY <tab> NAME`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, request: str, number: int, name: str) -> None:
        """Stand for `faults._act`."""
        with _lock, self._path.open("a", encoding="utf-8") as file:
            file.write(f"{call_now()}\t{name}\n")


class Fault:
    """Kills the process, or fills the disk, at one operation; writes down that it did."""

    def __init__(self, action: str, stage: str, kind: str, nth: int, told: Path) -> None:
        """At the `nth` of those operations in `stage` whose name, or its first word, is `kind`."""
        self._action, self._stage, self._kind = action, stage, kind
        self._nth, self._told = nth, told
        self._seen = 0

    def __call__(self, request: str, number: int, name: str) -> None:
        """Stand for `faults._act`."""
        if self._kind not in (kind_of(name), word_of(name)):
            return
        if call_now().partition("/")[0] != self._stage:
            return
        with _lock:
            self._seen += 1
            if self._seen != self._nth:
                return
        self._told.write_text(name, encoding="utf-8")
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = errno.ENOSPC
        raise OSError(code, f"{os.strerror(code)} (asked for by the torture)", name)


class Milestone:
    """Writes a file when so many operations have begun, so that a killer knows how far it is."""

    def __init__(self, after: int, told: Path) -> None:
        self._after, self._told = after, told
        self._seen = 0

    def __call__(self, request: str, number: int, name: str) -> None:
        """Stand for `faults._act`."""
        with _lock:
            self._seen += 1
            if self._seen == self._after:
                self._told.write_text(f"{call_now()} {name}", encoding="utf-8")


def install(wish: dict[str, Any]) -> None:
    """Have this process do what `wish` says; its children are left alone."""
    from tasks.storage import faults

    if "pid" in wish:
        Path(wish["pid"]).write_text(str(os.getpid()), encoding="utf-8")
    if "record" in wish:
        act: Any = Recorder(Path(wish["record"]))
    elif "fault" in wish:
        act = Fault(told=Path(wish["told"]), **wish["fault"])
    elif "after" in wish:
        act = Milestone(wish["after"], Path(wish["told"]))
    else:
        return
    # Only this module's view of the environment: a child would take the word for a wrong fault.
    faults.os = SimpleNamespace(environ={"SPARRING_FAULT": "torture"})  # type: ignore[assignment]
    faults._act = act


if __name__ == "__main__":
    if text := os.environ.pop(VARIABLE, ""):
        install(json.loads(text))
    from flows.cli.__main__ import entry

    entry()
