"""The flow run that a stage call belongs to: what it writes to and who watches it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

from tasks.settings.errors import SparringError
from tasks.stages.key import stage_title
from tasks.stages.runs.states import RunStatus
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote

if TYPE_CHECKING:
    from tasks.stages.artifact import Artifact
    from tasks.stages.call import StageCall
    from tasks.stages.manifest import Manifest
    from tasks.tracking.spool import Spool

StageState = Literal["running", "cached", "completed", "waiting", "failed", "interrupted"]
"""`cached` was done before; `waiting` needs what people have not given yet; `interrupted` was told
to stop and resumes where it was."""

Listener = Callable[[int, int, str], None]
"""Told `(done, total, unit)` while a body runs."""

PlanState = Literal["done", "partly done", "to run", "waiting"]
"""`waiting`: an input is not made yet, so it cannot be known whether the result exists."""

_log = logging.getLogger("sparring.stages")


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One call of a stage in a run."""

    stage: str
    """The stage's name."""
    label: str
    """A name of this call for people; may be empty."""
    key: str
    """SHA-256 of all it depends on."""
    state: StageState
    """How it ended, or "running"."""
    attempt: int = 0
    """Number of the attempt at the key; 0 when it was done before."""
    seconds: float = 0.0
    """Seconds from the call to its end."""
    digest: str = ""
    """DVC's md5 of the output."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics that the body returned."""
    error: str = ""
    """The error that ended it, or what it waits for; empty for none."""
    gpus: int = 0
    """GPUs that it holds while it runs."""
    chapter: str = ""
    """The part of the flow that it belongs to, such as `epoch 1 of DPO`; empty outside of any."""

    @property
    def title(self) -> str:
        """Name it for people: `update_policy · epoch 1`."""
        return stage_title(self.stage, self.label)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What one call of a stage would do."""

    stage: str
    """The stage's name."""
    label: str
    """A name of this call for people."""
    key: str
    """SHA-256 of all it depends on; empty while that is not known."""
    state: PlanState
    """Whether there is anything to do."""
    reason: str
    """The reason to run, or "on the remote" where what is done lies only there."""
    parts: int = 0
    """Finished shards, checkpoints and the like that it resumes from."""
    seconds: float | None = None
    """Seconds that it took the last time; None when it never ran here."""
    chapter: str = ""
    """The part of the flow that it belongs to, such as `epoch 1 of DPO`; empty outside of any."""

    @property
    def title(self) -> str:
        """A name of this call for people."""
        return stage_title(self.stage, self.label)


@dataclass(frozen=True, slots=True)
class Offer:
    """The models that a flow offers as its result."""

    models: Mapping[str, Artifact]
    """Models by role: policy, reward_model."""
    basis: Mapping[str, Artifact]
    """Artifacts that the models were measured with and against, by name; the gate uses them too."""
    config: Mapping[str, Any]
    """The flow's configuration as plain values."""


class ProgressSink(Protocol):
    """Watches the stages of a run: a terminal, a Prefect page, a test. It must not raise."""

    def stage_started(self, record: StageRecord) -> None:
        """Called when a stage has to run and begins."""

    def stage_finished(self, record: StageRecord) -> None:
        """Called when a call of a stage ended, also for one that was done before."""

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Called with how far a running stage is: `done` of `total` units."""

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Called with metrics of a running stage."""

    def note(self, title: str, text: str) -> None:
        """Called with one sentence that the user should read."""


class LoggingSink:
    """A `ProgressSink` for runs that nobody watches: only notes and failures, as log lines."""

    def stage_started(self, record: StageRecord) -> None:
        """Write a log line."""
        _log.info("%s: starts, attempt %d", record.title, record.attempt)

    def stage_finished(self, record: StageRecord) -> None:
        """Write a log line."""
        _log.info("%s: %s in %.1f s %s", record.title, record.state, record.seconds, record.error)

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Say nothing: a log is no place for a progress bar."""

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Say nothing: the metrics are kept elsewhere."""

    def note(self, title: str, text: str) -> None:
        """Write a log line that is seen by default."""
        _log.warning("%s: %s", title, text)


class Dispatch(Protocol):
    """Runs stage calls on another machine."""

    def takes(self, call: StageCall) -> bool:
        """Tell whether a call runs elsewhere: it belongs there, and is not done."""

    def __call__(self, call: StageCall, listener: Listener) -> tuple[Artifact, StageRecord]:
        """Return what `call_stage` returns, when the other machine has done it."""


@dataclass(slots=True)
class RunContext:
    """The surroundings of a stage call: its run, its home, who watches."""

    home: Home
    """The home that holds artifacts, manifests and leases."""
    run_id: str = ""
    """Our id of the flow run; empty outside of one, in unit tests for example."""
    mode: Literal["execute", "plan"] = "execute"
    """Whether calls do the work or only say what they would do."""
    verify: bool = False
    """Whether finished stages are checked by reading every byte."""
    spool: Spool | None = None
    """Takes the events for MLflow."""
    journal: Path | None = None
    """The run's journal of stage calls."""
    progress: ProgressSink = field(default_factory=LoggingSink)
    """Watches the stages."""
    records: list[StageRecord] = field(default_factory=list)
    """Records of the calls of this process, in order."""
    planned: list[PlannedStage] = field(default_factory=list)
    """In planning mode: what the calls would do, in order."""
    planned_calls: list[StageCall] = field(default_factory=list)
    """In planning mode: the calls themselves, in the same order."""
    dispatch: Dispatch | None = None
    """Takes the stages that run elsewhere; None when all run here."""
    history: dict[str, list[Manifest]] = field(default_factory=dict)
    """In planning mode: the manifests of each stage that was asked for, the oldest first."""
    ending: RunStatus | None = None
    """How the run was told to stop, once it was; None for anything else."""
    offer: Offer | None = None
    """The models that the flow offers as its result."""
    remote: Remote | None = field(default_factory=open_remote)
    """The remote that machines share; by default what `SPARRING_REMOTE` names."""
    leases_gpus: bool = True
    """Whether its stages lease the GPUs that they use; False where who started this process did."""
    calls: dict[str, StageCall] = field(default_factory=dict)
    """The calls made so far by key, so that one whose output is lost can be made again."""
    task_runs: dict[str, UUID] = field(default_factory=dict)
    """Prefect's task runs of the calls so far by key: what comes of them is drawn behind them."""

    @property
    def awaits(self) -> list[StageRecord]:
        """The calls of this process that wait for people, with what for."""
        return [record for record in self.records if record.state == "waiting"]


_current: ContextVar[RunContext | None] = ContextVar("sparring_run", default=None)
_chapter: ContextVar[str] = ContextVar("sparring_chapter", default="")


def current_run() -> RunContext:
    """Return the run that this call belongs to, or an empty one with the current home."""
    return _current.get() or RunContext(current_home())


@contextmanager
def entered(run: RunContext) -> Iterator[RunContext]:
    """Let stage calls inside the block belong to a run."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


@contextmanager
def chapter(name: str) -> Iterator[None]:
    """Let stage calls inside the block belong to a part of the flow that has a name for people."""
    before = _chapter.get()
    _chapter.set(name)
    try:
        yield
    finally:
        _chapter.set(before)


def current_chapter() -> str:
    """Return the name of the part of the flow that this call belongs to; empty outside of any."""
    return _chapter.get()


@contextmanager
def noting_failure(run: RunContext, title: str, failure: str) -> Iterator[None]:
    """Turn an error of bookkeeping inside the block into a note: it must not stop the work."""
    try:
        yield
    except (OSError, StorageError, SparringError) as error:
        run.progress.note(title, f"{failure}: {error}")


def record_to_json(record: StageRecord) -> dict[str, Any]:
    """Return a record as plain values for the run's journal; the metrics are in the manifest."""
    plain = {**asdict(record), "seconds": round(record.seconds, 3)}
    del plain["metrics"]
    return plain
