"""The command `sparring` on a real terminal of 80 columns, as a person sees and stops it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte

from tests.flows.command import Shell

COLUMNS, LINES = 80, 24
CTRL_C = b"\x03"


class Terminal:
    """A pseudo-terminal with a command in its foreground."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self._master = process, master
        self.raw = b""
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, key: bytes) -> None:
        """Type something; Ctrl-C signals the whole foreground group, as a keyboard does."""
        os.write(self._master, key)

    def wait(self, seconds: float = 120.0) -> int:
        """Wait for the command's end and all that it printed; return its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def wait_for(self, pattern: str, seconds: float = 240.0) -> str:
        """Wait until a line of the screen holds a pattern, and return all lines."""
        until = time.monotonic() + seconds
        while not re.search(pattern, shown := "\n".join(self.lines())):
            assert self.process.poll() is None, shown
            assert time.monotonic() < until, shown
            time.sleep(0.02)
        return shown

    def lines(self) -> list[str]:
        """Return what a person can read by now, scrolled back to the beginning."""
        above = [
            "".join(row[column].data for column in range(COLUMNS)).rstrip()
            for row in list(self._screen.history.top)
        ]
        return [*above, *(line.rstrip() for line in list(self._screen.display))]

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the last one at the other end is gone
                return
            if not data:
                return
            self.raw += data
            self._stream.feed(data)


@contextmanager
def on_a_terminal(shell: Shell, *words: str) -> Iterator[Terminal]:
    """Run `sparring` with these words on a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    take_terminal: Callable[[], None] = _take_terminal
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=shell.folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            "SPARRING_HOME": str(shell.home.root),
            "TERM": "xterm-256color",
            **shell.variables,
        },
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        os.close(master)


def _take_terminal() -> None:
    """Make standard input the controlling terminal, from which Ctrl-C comes."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
