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
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARIES = (
    "prefect.flow_engine", "prefect.task_engine", "prefect.client.orchestration", "mlflow.tracking",
    "torch.utils.data", "transformers.models.llama.modeling_llama", "transformers.generation.utils",
    "transformers.models.auto.modeling_auto", "transformers.trainer_utils", "datasets", "pandas",
    "dvc.repo", "scipy.stats", "matplotlib.pyplot", "jinja2", "alembic.command", "boto3",
    "rich.markdown", "flows.apo", "flows.exo",
)  # fmt: skip
"""What runs import; nothing that takes its settings from the environment for good."""


class WarmStarter:
    """The process that commands are forked from; begun at the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, words: tuple[str, ...], folder: Path, environment: Mapping[str, str]
    ) -> int | None:
        """Run `sparring` with these words and return its exit code, negative for a signal.

        Its output goes to the files that the environment names by `STDOUT` and `STDERR`. None:
        another thread runs a command just now.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            asked = {"words": words, "folder": str(folder), "environment": dict(environment)}
            process = self._begun()
            print(json.dumps(asked), file=process.stdin, flush=True)
            return int(process.stdout.readline())
        finally:
            self._lock.release()

    def _begun(self) -> Any:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.flows.warm_start"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


def _serve() -> None:
    """Import, then fork a command for every line of stdin and answer with its exit code."""
    from flows.runs.console import quiet_libraries

    quiet_libraries()
    for name in LIBRARIES:
        importlib.import_module(name)
    # Arrow's allocator has a thread besides, which outlives a fork by its own means.
    assert threading.active_count() == 1, "what is forked would miss all threads but one"
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        if not (child := os.fork()):
            answers.close()
            _become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the command, from its first line to its exit."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((0, os.devnull), (1, environment["STDOUT"]), (2, environment["STDERR"])):
        file = os.open(name, os.O_RDWR | (os.O_APPEND if number else 0))
        os.dup2(file, number)
        os.close(file)
    random.seed()
    sys.modules["numpy"].random.seed()
    sys.modules["prefect.context"].refresh_global_settings_context()
    sys.argv = ["sparring", *words]
    code: Any = 0
    try:
        runpy.run_module("flows.cli", run_name="__main__", alter_sys=True)
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


if __name__ == "__main__":
    _serve()
