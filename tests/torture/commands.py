"""Commands of `sparring` that may be killed: forked warm, as `tests.flows.warm_start` does it."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import psutil

from tests.flows.command import Shell
from tests.flows.warm_start import WARM
from tests.torture.inside import VARIABLE

HUNG = 999
"""Stands for the exit code of a command that did not come to its end."""
PATIENCE = 900.0
"""Seconds after which a command hangs; a busy machine takes its time."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    words: tuple[str, ...]
    """After `sparring`."""
    code: int
    """Exit code, negative for a signal, or HUNG."""
    out: str
    """What it printed."""
    err: str
    """What it printed on stderr."""

    @property
    def text(self) -> str:
        """All that it printed."""
        return f"{self.out}\n{self.err}"

    @property
    def sentence(self) -> str:
        """The last line on stderr, or else that on stdout."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:400] if lines else ""


class Command:
    """One command at work."""

    def __init__(
        self, shell: Shell, words: tuple[str, ...], wish: Mapping[str, Any] | None = None
    ) -> None:
        """Start `sparring` with these words; `wish` says what `inside.py` does meanwhile."""
        self._words = words
        self._pid = shell.folder / "torture.pid"
        self._pid.unlink(missing_ok=True)
        told = {**(wish or {}), "pid": str(self._pid)}
        own = {"SPARRING_HOME": str(shell.home.root), "COLUMNS": "200", "TMPDIR": str(_tmp(shell))}
        environment = {**os.environ, **own, **shell.variables, VARIABLE: json.dumps(told)}
        self._files: tuple[IO[bytes], IO[bytes]] = (TemporaryFile(), TemporaryFile())
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(WARM.address())
        with open(os.devnull, "rb") as nothing:
            socket.send_fds(self._link, [b"."], [one.fileno() for one in (nothing, *self._files)])
        asked = {
            "words": ["-m", "tests.torture.inside", *words],
            "folder": str(shell.folder),
            "environment": environment,
        }
        self._link.sendall(json.dumps(asked).encode() + b"\n")

    def wait(self, seconds: float = PATIENCE) -> Outcome:
        """Return how it ended; one that hangs is killed."""
        self._link.settimeout(seconds)
        try:
            answer = self._link.makefile().readline()
            code = int(answer) if answer.strip() else HUNG
        except TimeoutError:
            code = HUNG
            self.kill()
        self._link.close()
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Outcome(self._words, code, *texts)

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Wait so many seconds at the most; return whether it came to its end."""
        return bool(select.select([self._link], [], [], seconds)[0])

    def kill(self) -> bool:
        """Kill it and what it started, the servers aside; return whether it was still there."""
        with suppress(FileNotFoundError, ValueError, psutil.Error):
            victim = psutil.Process(int(self._pid.read_text()))
            if victim.status() == psutil.STATUS_ZOMBIE:
                return False
            victim.suspend()
            for one in (victim, *victim.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            return True
        return False


def run(shell: Shell, *words: str, wish: Mapping[str, Any] | None = None) -> Outcome:
    """Run one command to its end."""
    return Command(shell, words, wish).wait()


def users_of(folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes that work in a folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                yield process


def left_in(folder: Path, patience: float = 15.0) -> list[str]:
    """Return the processes that are still at work in a folder after a while."""
    until = time.monotonic() + patience
    while found := [" ".join(one.cmdline())[:200] for one in users_of(folder)]:
        if time.monotonic() > until:
            return found
        time.sleep(0.1)
    return []


def _tmp(shell: Shell) -> Path:
    """Return the folder of a world's temporary files, which go with it."""
    folder = shell.folder / "tmp"
    folder.mkdir(exist_ok=True)
    return folder
