"""The command `sparring` as a user types it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tasks.stages.manifest import list_manifests
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import list_runs
from tasks.storage.home import Home
from tests.flows.warm_client import ask
from tests.flows.warm_start import WARM

SMALL = Path(__file__).parent / "configs" / "small.yaml"
"""A run of less than a minute on one core."""
CANARIES = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws-7f31",
    "HF_TOKEN": "canary-hub-7f32",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "canary-session-7f33",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlflow-7f34",
    "OPENAI_API_KEY": "canary-openai-7f35",
    "PREFECT_API_AUTH_STRING": "me:canary-prefect-7f36",
}
"""Secrets in the environment of the shared run, which none of its outputs may hold."""


@dataclass
class Shell:
    """A folder to type commands in, with a state folder of its own."""

    folder: Path
    """Current folder of the commands; the data lies in it."""
    state: str = ".sparring"
    """SPARRING_HOME, relative to `folder`."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment of every command, beside that of the tests."""
    began: float = field(default_factory=time.time)
    """When it was made, seconds of the epoch."""

    @property
    def home(self) -> Home:
        """The state folder."""
        return Home(self.folder / self.state)

    def start(self, *words: str, program: str | None = None, **variables: str) -> Any:
        """Start `sparring` with these words and return the process."""
        entry = ["-c", program] if program else ["-m", "flows.cli"]
        return subprocess.Popen(
            [sys.executable, *entry, *words],
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def __call__(
        self, *words: str, code: int = 0, program: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `sparring`, and check its exit code and that it shows nobody a traceback."""
        if program:
            process = self.start(*words, program=program, **variables)
            out, err = process.communicate(timeout=900)
            done = subprocess.CompletedProcess(words, process.returncode, out, err)
        else:
            done = self._warm(words, variables)
        out, err = done.stdout, done.stderr
        assert done.returncode == code, f"exit code {done.returncode}\n{out[-3000:]}\n{err[-3000:]}"
        assert "Traceback" not in err, err
        return done

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        own = {"SPARRING_HOME": str(self.home.root), "COLUMNS": "120"}
        return {**os.environ, **own, **self.variables, **variables}

    def _warm(
        self, words: tuple[str, ...], variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        with open(os.devnull, "rb") as nothing, TemporaryFile() as out, TemporaryFile() as err:
            environment = self._environment(variables)
            streams = [file.fileno() for file in (nothing, out, err)]
            code = ask(WARM.address(), list(words), str(self.folder), environment, *streams)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(words, code, *texts)

    def json(self, *words: str) -> Any:
        """Run a read verb with `--json` and return what it printed."""
        return json.loads(self(*words, "--json").stdout)

    def refusal(self, *words: str, code: int = 2, **variables: str) -> str:
        """Run a command that must fail, and return its one sentence."""
        done = self(*words, code=code, **variables)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("sparring: "), done.stderr
        return lines[0]

    def finished_keys(self) -> dict[str, str]:
        """Return the digest of every committed output by stage and key."""
        return {f"{one.stage}/{one.key}": one.digest for one in list_manifests(self.home)}

    def events(self) -> list[dict[str, Any]]:
        """Return what happened to the stages of the first run; nothing before there is one."""
        runs = list_runs(self.home) if self.home.runs.is_dir() else []
        return stage_events(self.home, runs[-1].id) if runs else []


def wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def sets(*overrides: str) -> list[str]:
    """Return the words of `--set` for each override."""
    return [word for override in overrides for word in ("--set", override)]
