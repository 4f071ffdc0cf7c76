"""What happened in a run, written down at once and sent to a tracking backend later.

An event is one record of a journal on the local disk, so recording costs well under two
milliseconds and works with every server down. Each run has a folder; each process that works on
the run appends to segments of its own, which are removed once a backend has them (`EventSink`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.settings.passwords import without_any
from tasks.storage.errors import CorruptError
from tasks.storage.files import safe_join
from tasks.storage.journal import append_record, read_records
from tasks.storage.plain import plain_metrics

_log = logging.getLogger("sparring.tracking")

Event = dict[str, Any]
"""`event` names what happened, `time` is in milliseconds since 1970, `stage` is a stage's key."""

SEGMENT_EVENTS = 500
"""Events per segment: what has to be read again each time new ones are sent."""

LOGGED_LATER = frozenset({"run_started", "run_finished", "stage_skipped"})
"""Events that are not worth opening a backend for; they are sent with the next others."""


class Spool:
    """The events of one run, as this process adds them."""

    def __init__(self, root: Path, run: str) -> None:
        self.folder = safe_join(Path(root), run)
        self.has_news = False
        """Whether an event was added that should be sent soon; the reader sets it back."""
        self._lock = threading.Lock()
        self._segment = self._next_segment()
        self._count = 0

    def run_started(
        self,
        *,
        flow: str,
        experiment: str,
        params: Mapping[str, Any],
        shown: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record that the run began, or goes on in this process.

        Only the process that owns the run says so; others add stages to a run that they look up.

        Args:
            flow: The flow's name.
            experiment: The group of runs under which it is kept.
            params: The whole config as plain values.
            shown: The part of it that runs are told apart by; None for all.
            tags: Code, environment, seed, and whatever else names the run.
        """
        self._add(
            "run_started", flow=flow, experiment=experiment, params=dict(params),
            shown=dict(params if shown is None else shown), tags=dict(tags or {}),
        )  # fmt: skip

    def tags(self, stage: str | None, tags: Mapping[str, str]) -> None:
        """Record tags of a stage, or with None of the flow's run."""
        self._add("tags", stage, tags=dict(tags))

    def result(
        self,
        metrics: Mapping[str, float],
        *,
        models: Sequence[Mapping[str, Any]],
        datasets: Sequence[Mapping[str, Any]],
        headline: str,
    ) -> None:
        """Record what the run came to.

        Args:
            metrics: Its figures by name.
            models: The models that it offers, each as an input of `stage_started`.
            datasets: The user's files that it rests on, the same.
            headline: The sentence that its report begins with; may be empty.
        """
        self._add(
            "result", values=plain_metrics(metrics), models=[dict(one) for one in models],
            datasets=[dict(one) for one in datasets], headline=headline,
        )  # fmt: skip

    def run_finished(self, status: str, state: str, where: str = "") -> None:
        """Record the end of the run: FINISHED, FAILED or KILLED, our word for it, where it stopped.

        Args:
            status: MLflow's word.
            state: Our own.
            where: At which stage it was told to stop, and what is saved; empty for any other end.
        """
        self._add("run_finished", status=status, state=state, where=where)

    def stage_started(
        self,
        stage: str,
        *,
        name: str,
        attempt: int,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        inputs: Sequence[Mapping[str, Any]] = (),
        produces: str | None = None,
    ) -> None:
        """Record that an attempt at a stage began.

        Args:
            stage: The stage's key.
            name: What people call it, as in `update_policy · epoch 1`.
            attempt: Its number; a higher one is later.
            params: The stage's config as plain values.
            tags: Whatever names it.
            inputs: Each with `role`, `digest`, `stage`, `key`, `part`, `label`, `source` (a path
                or URL) and `produces` and `pointer`, as in `stage_finished`, where a model was
                made.
            produces: "policy" or "reward_model" when a model comes out.
        """
        self._add(
            "stage_started", stage, name=name, attempt=attempt, params=dict(params),
            tags=dict(tags), inputs=[dict(item) for item in inputs], produces=produces,
        )  # fmt: skip

    def stage_skipped(
        self, stage: str, *, name: str, output: Mapping[str, Any] | None = None
    ) -> None:
        """Record that a stage had been done before; `output` is as in `stage_finished`."""
        self._add("stage_skipped", stage, name=name, output=dict(output or {}))

    def metrics(
        self, stage: str, values: Mapping[str, float], *, step: int | None, attempt: int
    ) -> None:
        """Record numbers measured at a step; without a step they describe the whole stage."""
        self._add("metrics", stage, values=plain_metrics(values), step=step, attempt=attempt)

    def files(self, stage: str | None, paths: Sequence[Path], *, links: bool = False) -> None:
        """Record that small files should lie beside the run's numbers; None: the flow's run.

        Args:
            stage: The stage's key.
            paths: Read when they are sent.
            links: They are HTML whose links `sparring:stage/KEY` lead to the backend's pages.
        """
        places = [str(Path(path).absolute()) for path in paths]
        self._add("files", stage, paths=places, links=links)

    def stage_finished(
        self,
        stage: str,
        status: str,
        *,
        tags: Mapping[str, str],
        output: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how an attempt ended.

        Args:
            stage: The stage's key.
            status: FINISHED, FAILED or KILLED.
            tags: Whatever is known now.
            output: `digest`, `key`, `stage`, `path`, `size` (bytes) and `produces` ("policy",
                "reward_model" or None) of what a finished one made; of a model its `pointer`:
                plain values by which it is found again, `roles` among them, what it can be used as.
        """
        self._add(
            "stage_finished", stage, status=status, tags=dict(tags), output=dict(output or {})
        )

    def alias_moved(
        self,
        flow: str,
        alias: str,
        models: Mapping[str, str],
        evidence: Mapping[str, Any] | None = None,
        *,
        pointers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Record that an alias means other models now.

        Args:
            flow: Whose models.
            alias: The alias, such as `champion`.
            models: The key of the stage that made it, by kind ("policy", "reward_model"); a kind
                with "" has no such model any more.
            evidence: Why, as plain values.
            pointers: Where the models lie, by kind, as `pointer` of `stage_finished`.
        """
        self._add(
            "alias_moved", flow=flow, alias=alias, models=dict(models),
            evidence=dict(evidence or {}), pointers=dict(pointers or {}),
        )  # fmt: skip

    def _add(self, event: str, stage: str | None = None, /, **fields: Any) -> None:
        """Append one event to this process's segment."""
        if event not in ("metrics", "files"):  # numbers and places
            fields = without_any(fields)
        record = {"event": event, "time": int(time.time() * 1000), "stage": stage, **fields}
        with self._lock:
            if self._count == SEGMENT_EVENTS:
                self._segment, self._count = self._next_segment(), 0
            # Metrics come often, and the next other event takes them to the disk.
            append_record(self._segment, record, sync=event != "metrics")
            self._count += 1
        if event not in LOGGED_LATER:
            self.has_news = True

    def _next_segment(self) -> Path:
        """Return a segment's name, later in the alphabet than those before it."""
        return self.folder / f"{time.time_ns():020d}-{os.getpid()}.journal"


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of events."""

    path: Path
    """The journal."""
    events: list[Event]
    """All events in it so far."""

    @property
    def is_full(self) -> bool:
        """Whether no process will add to it any more."""
        return len(self.events) >= SEGMENT_EVENTS


def read_segments(folder: Path, after: str = "") -> Iterator[Segment]:
    """Yield a run's segments in the order they were begun.

    Args:
        folder: The run's spool folder.
        after: Leave out the segments before this name.
    """
    for path in sorted(Path(folder).glob("*.journal")):
        if path.name < after:
            continue
        try:
            yield Segment(path, read_records(path))
        except CorruptError as error:
            _log.warning("these records cannot be logged: %s", error)


def spooled_runs(root: Path) -> list[Path]:
    """Return the spool folders that hold events, oldest run first."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(root) if entry.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(folder for folder in folders if any(folder.glob("*.journal")))
