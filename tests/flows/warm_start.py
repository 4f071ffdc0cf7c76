"""Commands that need not import everything again: forked from a process that has.

Half of a short command's time is imports, and the tests type hundreds. A process of its own it
still is, with its folder, environment, output and exit code; only the libraries are there already.
What a test wants to kill, to time or to ask for its imports is started by `Shell.start`, cold.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

from tests.flows import warm_client

SHARED = "SPARRING_TESTS_WARM_START"
"""Environment variable that names the socket, where several processes of tests share one."""
LIBRARIES = (
    "prefect.flow_engine", "prefect.task_engine", "prefect.client.orchestration", "mlflow.tracking",
    "torch.utils.data", "transformers.models.llama.modeling_llama", "transformers.generation.utils",
    "transformers.models.auto.modeling_auto", "transformers.trainer_utils", "datasets", "pandas",
    "dvc.repo", "scipy.stats", "matplotlib.pyplot", "jinja2", "alembic.command", "boto3",
    "rich.markdown", "hypothesis", "accelerate", "torch.distributed.fsdp", "deepspeed",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
    "flows.apo", "flows.exo", "flows.ava", "flows.cli.main", "flows.runs.ending",
    "tasks.training.updates.policy", "tasks.training.updates.reward_model",
    "tasks.training.updates.tqr", "tasks.training.ppo.trainer", "tasks.evaluation.apo.report",
    "tasks.evaluation.exo.report", "tasks.evaluation.ava.report",
)  # fmt: skip
"""What runs import; nothing that takes its settings from the environment for good."""


class WarmStarter:
    """The process that commands are forked from; begun at the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""

    def address(self) -> str:
        """Return the socket on which commands are asked for, by `tests.flows.warm_client`."""
        if shared := os.environ.get(SHARED):
            return shared
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._folder = mkdtemp(prefix="warm-")
                atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
                words = [sys.executable, "-m", "tests.flows.warm_start", self._path]
                # It ends when this process does, whose end of the pipe it reads.
                self._process = subprocess.Popen(words, stdin=subprocess.PIPE)
                while not os.path.exists(self._path):
                    assert self._process.poll() is None
                    time.sleep(0.05)
        return self._path

    def python(self) -> str:
        """Return a program that stands for Python with `-c CODE` or `-m MODULE`.

        For what is neither killed nor sent a signal: that would reach the program, not the fork.
        """
        address = self.address()
        with self._lock:
            program = Path(address).with_name(f"python-{os.getpid()}")
            if not program.exists():
                words = f"{sys.executable} -I -S {warm_client.__file__} {address}"
                program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
                program.chmod(0o755)
        return str(program)

    @property
    def _path(self) -> str:
        return f"{self._folder}/socket"


WARM = WarmStarter()
"""What short commands are forked from."""


def _serve(path: str) -> None:
    """Import, then fork a command for every one who asks for one."""
    from flows.runs.console import quiet_libraries

    quiet_libraries()
    from tasks.models.loading import quiet_transformers

    gc.disable()
    with quiet_transformers():
        for name in LIBRARIES:
            importlib.import_module(name)
    # Arrow's allocator has a thread besides, which outlives a fork by its own means.
    assert threading.active_count() == 1, "what is forked would miss all threads but one"
    os.fsync = os.fdatasync = os.fstat  # type: ignore[assignment]  # as in tests/conftest.py
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{path}.new")
        door.listen(16)
        os.rename(f"{path}.new", path)
        while True:
            ready, _, _ = select.select([door, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            link, _ = door.accept()
            if not os.fork():
                door.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(link)
            link.close()


def _answer(link: socket.socket) -> None:
    """Fork the command that is asked for, and tell its exit code, negative for a signal.

    It is killed when who asked for it is.
    """
    _, streams, _, _ = socket.recv_fds(link, 1, 3)
    asked = json.loads(link.makefile().readline())
    if not (child := os.fork()):
        link.close()
        _become(streams, **asked)
    ready, _, _ = select.select([link, os.pidfd_open(child)], [], [])
    if link in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    # Who asked may have been killed meanwhile.
    with suppress(OSError):
        link.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the command, from its first line to its exit."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    random.seed()
    sys.modules["numpy"].random.seed()
    sys.modules["prefect.context"].refresh_global_settings_context()
    code: Any = 0
    try:
        _run(words[1:] if words[:1] == ["-u"] else words)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run(words: list[str]) -> None:
    """Run `-c CODE`, `-m MODULE` or else `sparring` with these words."""
    if words[:1] == ["-c"]:
        sys.argv, sys.modules["__main__"] = ["-c", *words[2:]], ModuleType("__main__")
        exec(words[1], vars(sys.modules["__main__"]))
    else:
        is_module = words[:1] == ["-m"]
        name, sys.argv = (words[1], words[1:]) if is_module else ("flows.cli", ["sparring", *words])
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
