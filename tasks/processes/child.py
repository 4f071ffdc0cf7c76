"""Programs started for the length of a block, which outlive neither the block nor this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tasks.settings.errors import ConfigError

_REAPER = Path(__file__).with_name("reaper.py")
_TAIL_BYTES = 16_384


class Child:
    """A running program and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, grace: float) -> None:
        """Take a started reaper, the file its program writes to, and the program's grace."""
        self.log = log
        self._process, self._grace = process, grace

    @property
    def pid(self) -> int:
        """The process whose descendants are the program and all that it started."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return what the program ended with (128 + n: by signal n), or None while it runs."""
        return self._process.poll()

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log, for messages."""
        with suppress(FileNotFoundError), open(self.log, "rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
            return "\n".join(text.splitlines()[-lines:]) or "(nothing)"
        return "(no log)"

    def stop(self) -> None:
        """End the program: SIGTERM, then, after its grace, SIGKILL to all that is left of it."""
        self._process.terminate()
        try:
            self._process.wait(self._grace + 10.0)
        except BaseException as error:
            _kill_tree(self.pid)
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def find_program(name: str) -> str:
    """Return the path of a program, looked for beside this Python and then on the PATH.

    Raises:
        ConfigError: There is none, or it may not be run.
    """
    if path := shutil.which(name, path=_search_path()):
        return path
    raise ConfigError(
        f"there is no program {name!r} beside {sys.executable} or on the PATH: install it, or give "
        "its path in the command"
    )


@contextmanager
def child_process(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    grace: float = 10.0,
) -> Iterator[Child]:
    """Run a program during the block, in a session of its own: Ctrl-C reaches it through us.

    It and its descendants end with the block, and within a second if this process is killed.

    Args:
        command: The program and its arguments.
        log: Gets all the program's output; readable by this user alone. What is there is added to.
        environment: Variables beside those of this process.
        grace: Seconds from SIGTERM to SIGKILL.

    Raises:
        ConfigError: There is no such program.
    """
    program = [find_program(command[0]), *command[1:]]
    variables = {**os.environ, "PATH": _search_path(), **(environment or {})}
    # Without -P the folder of the script would hide libraries of the same names as its modules.
    reaper = [sys.executable, "-P", str(_REAPER), str(os.getpid()), str(grace)]
    with open(log, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as output:
        process = subprocess.Popen(
            [*reaper, *program],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child = Child(process, log, grace)
    try:
        yield child
    finally:
        child.stop()


def _search_path() -> str:
    # The programs of an environment that was never activated lie beside its Python.
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _kill_tree(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        reaper = psutil.Process(pid)
        for process in [*reaper.children(recursive=True), reaper]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
