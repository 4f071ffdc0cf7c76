"""What the scripts here share: a folder or a process of their own, and the seconds of an action."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def timed(action: Callable[[], object]) -> float:
    """Return the seconds an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@contextmanager
def own_folder() -> Iterator[Path]:
    """Go into a new folder with Sparring's home in it; it is removed afterwards."""
    with TemporaryDirectory(prefix="sparring-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["SPARRING_HOME"] = f"{folder}/home"
        with chdir(folder):
            yield Path(folder)


def child(script: str, *words: object) -> dict[str, Any]:
    """Run a script in a process of its own, so that its peak memory is its own; read its JSON."""
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sparring(*words: str, start: tuple[str, ...] = ("-m", "flows.cli"), **options: Any) -> Any:
    """Start a `sparring` command of this checkout; `start` says by which code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen([sys.executable, *start, *words], env=environment, **options)


def config_path(name: str) -> str:
    """Return a config's name, or the whole path of a file, which holds in every folder."""
    return str(Path(name).absolute()) if Path(name).is_file() else name
