"""A small flow of three stages, and processes to run, stop and kill it in."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.base import FrozenConfig
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage import faults
from tasks.storage.home import Home, current_home
from tasks.storage.workspace import Workspace


class ToyConfig(FrozenConfig):
    """Of every toy stage."""

    shards: int = 2
    """Parts of the work."""
    seconds: float = 0.0
    """How long the body sleeps."""


def _trace(name: str) -> None:
    """Leave a line that survives the process: this body, or part of one, has begun."""
    with open(os.environ["TOY_TRACE"], "a") as trace:
        trace.write(f"{name} {os.getpid()}\n")


@stage_task(version=1)
def shard(
    source: Artifact, *, config: ToyConfig, seed: int, workspace: Workspace, log: Any
) -> dict[str, float]:
    """Copy the source once per shard, keeping each as a part."""
    _trace("shard")
    time.sleep(float(os.environ.get("TOY_SECONDS", config.seconds)))
    for index in range(config.shards):
        name = f"{index:05d}"
        if workspace.part(name) is None:
            _trace(f"part-{name}")
            text = f"{seed} {index} {source.path.read_text()}"
            workspace.save_part(name, lambda folder, text=text: _write(folder, text))
        log({"done": index + 1.0}, step=index)
        log.progress(index + 1, config.shards, "shards")
    for name in workspace.part_names():
        _write(workspace.output / name, (workspace.part(name) / "text").read_text())
    return {"shards": float(config.shards)}


@stage_task(version=1)
def join(
    shards: list[Artifact], extra: Artifact | None = None, *, workspace: Workspace
) -> dict[str, float]:
    """Put all shards into one file."""
    _trace("join")
    texts = [file.read_text() for item in shards for file in sorted(item.path.rglob("text"))]
    _write(workspace.output, "\n".join(texts + ([extra.path.read_text()] if extra else [])))
    return {"texts": float(len(texts))}


@stage_task(version=1)
def pick(item: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Copy one text."""
    (workspace.output / "text").write_text((item.path / "text").read_text())
    return {"letters": 1.0, "speed/letters": 2.0}


def _write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text").write_text(text)


class Notes:
    """A progress sink that keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage_started(self, record: Any) -> None: ...

    def stage_finished(self, record: Any) -> None: ...

    def progress(self, title: str, done: int, total: int, unit: str) -> None: ...

    def metrics(self, title: str, values: Any, step: int | None) -> None: ...

    def note(self, title: str, text: str) -> None:
        self.notes.append(f"{title}: {text}")


class Toy:
    """The flow and its stages, with a source file and a trace of what ran."""

    config = ToyConfig
    shard = staticmethod(shard)
    join = staticmethod(join)
    pick = staticmethod(pick)

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source.txt"
        self.source.write_text("hello")
        self.trace = folder / "trace"

    def flow(self, shards: int = 2) -> Artifact:
        source = external_artifact(self.source)
        first = shard(source, config=ToyConfig(shards=shards), seed=1, label="first")
        second = shard(source, config=ToyConfig(shards=shards), seed=2, label="second")
        return join([first, second.part("00000")])

    def started(self) -> list[str]:
        """Names of the bodies and parts begun so far, in order."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [line.split()[0] for line in lines]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Any) -> Toy:
    """The toy flow with a home of its own."""
    monkeypatch.setenv("TOY_TRACE", str(tmp_path / "trace"))
    return Toy(tmp_path)


class Child:
    """A forked process that runs a function and answers with a string."""

    def __init__(self, work: Callable[[], Any], **environment: str) -> None:
        self._reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(writer)
            return
        answer, code = "", 1
        try:
            os.environ.update(environment)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            faults._count = 0
            answer, code = str(work()), 0
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, answer.encode())
            os._exit(code)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Exit code, negative for a signal, and answer."""
        _, status = os.waitpid(self.pid, 0)
        with os.fdopen(self._reader) as reader:
            answer = reader.read()
        return os.waitstatus_to_exitcode(status), answer


@pytest.fixture
def child() -> type[Child]:
    """Starts a function in a process of its own."""
    return Child


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition, at most half a minute."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if result := condition():
                return result
            time.sleep(0.01)
        raise AssertionError("nothing happened for 30 s")

    return wait


@pytest.fixture
def notes() -> Notes:
    """A progress sink that keeps what it hears."""
    return Notes()


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A remote that is a folder."""
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "shared"))
    return tmp_path / "shared"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Home]:
    """Moves this process to the machine of a name."""

    def move(name: str) -> Home:
        monkeypatch.setenv("SPARRING_HOME", str(tmp_path / name))
        return current_home().ensure()

    return move


def _alone(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the flow's digest on one machine without a remote."""
    with monkeypatch.context() as inner:
        inner.setenv("SPARRING_HOME", str(tmp_path / "alone"))
        inner.delenv("SPARRING_REMOTE", raising=False)
        digest = str(toy.flow().digest)
    toy.trace.unlink()
    return digest


@pytest.fixture
def bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A remote on a real object store."""
    url = f"s3://{s3.bucket()}/team"
    monkeypatch.setenv("SPARRING_REMOTE", url)
    return url
