"""Tells MLflow what the spool holds; the only file that imports mlflow.

A flow run is an MLflow run, each stage it executed is a child of it. Telling is idempotent and
resumable: whatever is told twice, because a kill came between MLflow and our cursor, is found
again by our own ids. Runs are never left RUNNING: whoever drains next closes what was killed.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.storage.digests import canonical_json
from tasks.storage.locks import FileLock
from tasks.tracking.cursor import Cursor
from tasks.tracking.params import clean_name, flatten
from tasks.tracking.spool import Event, Segment, read_segments, spooled_runs

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RUN_TAG = "sparring.run"
"""Tag of every MLflow run: our id of the flow run."""
STAGE_TAG = "sparring.stage"
"""Tag of a stage's MLflow run: the stage's key; empty at the flow's run."""

OUTPUT = "output"
"""Where the files that a stage left lie among a run's artifacts."""

_log = logging.getLogger("sparring.tracking")
_SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is down is tried again at the next look, not for minutes in one call.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
_MOST_PARAMS = 100
_MOST_METRICS = 1000
_STARTS = frozenset({"run_started", "stage_started"})


@dataclass(frozen=True, slots=True)
class TrackingPlace:
    """Where MLflow keeps its records."""

    uri: str
    """A tracking server or a database."""
    artifacts: str | None
    """URI for files; None leaves it to the server."""
    lock: Path
    """Held while the database is being made or migrated."""


def tracking_place(mlruns: Path) -> TrackingPlace:
    """Return the server of `MLFLOW_TRACKING_URI`, else the database in the folder `mlruns`."""
    folder = Path(mlruns).absolute()
    lock = folder / ".migrate.lock"
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return TrackingPlace(uri, None, lock)
    return TrackingPlace(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri(), lock)


class MlflowRecord:
    """A connection to MLflow that turns spooled events into runs.

    Args:
        place: where MLflow keeps its records.
    """

    def __init__(self, place: TrackingPlace) -> None:
        self._place = place
        self._client = _connect(place)

    def drain(self, spool_root: Path, *, wait_seconds: float = 0.0) -> int:
        """Tell everything that is spooled and not yet told.

        Args:
            spool_root: the home's spool folder.
            wait_seconds: how long to wait for another process that is telling.

        Returns:
            How many events were told.

        Raises:
            LockTimeoutError: when another process is telling.
            Exception: whatever MLflow raises when it cannot be reached; nothing is lost.
        """
        with FileLock(Path(spool_root) / ".drain.lock", timeout=wait_seconds):
            return sum(self._drain_run(folder) for folder in spooled_runs(spool_root))

    def _drain_run(self, folder: Path) -> int:
        """Tell the events of one run, segment by segment, and remove what is told for good."""
        cursor = Cursor.load(folder)
        told = 0
        for segment in read_segments(folder):
            name = segment.path.name
            begin = cursor.index if name == cursor.segment else 0
            if name >= cursor.segment and len(segment.events) > begin:
                self._tell(folder.name, cursor, segment.events[begin:])
                cursor.segment, cursor.index = name, len(segment.events)
                cursor.save(folder)
                told += len(segment.events) - begin
            if segment.is_full or not _is_owner_alive(segment):
                segment.path.unlink(missing_ok=True)
        return told

    def _tell(self, run: str, cursor: Cursor, events: list[Event]) -> None:
        """Tell events in their order; what MLflow refuses for good is named and left out."""
        from mlflow.exceptions import MlflowException

        points: dict[str, list[Any]] = {}
        for event in events:
            if event["event"] == "metrics":
                stage = event["stage"]
                points.setdefault(stage, []).extend(_new_points(cursor, event))
                continue
            try:
                self._flush(run, cursor, points)
                self._tell_one(run, cursor, event)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                _log.warning("mlflow refuses %s of %s: %s", event["event"], run, error)
        self._flush(run, cursor, points)

    def _tell_one(self, run: str, cursor: Cursor, event: Event) -> None:
        """Tell one event that is not a metric."""
        kind, stage = event["event"], event["stage"] or ""
        if kind in _STARTS:
            self._start(run, cursor, event)
            return
        if kind == "stage_skipped":
            parent = self._run_id(run, cursor, "", event)
            self._client.set_tag(parent, f"sparring.skipped.{stage[:16]}", event["name"])
            if stage in cursor.runs:
                # It was killed after its commit, before it could say so.
                self._client.set_terminated(cursor.runs[stage], "FINISHED")
            return
        mlflow_run = self._run_id(run, cursor, stage, event)
        if kind in ("stage_finished", "run_finished"):
            for key, value in event.get("tags", {}).items():
                self._client.set_tag(mlflow_run, clean_name(key), value)
            self._client.set_terminated(mlflow_run, event["status"], end_time=event["time"])
        elif kind == "files":
            for path in event["paths"]:
                if Path(path).exists():
                    self._client.log_artifact(mlflow_run, path, OUTPUT)

    def _start(self, run: str, cursor: Cursor, event: Event) -> None:
        """Begin, or begin again, the MLflow run of a flow run or of a stage."""
        from mlflow.entities import Param, RunTag

        stage = event["stage"] or ""
        if stage:
            cursor.begin_attempt(stage, event["attempt"])
        mlflow_run = self._run_id(run, cursor, stage, event)
        self._client.update_run(mlflow_run, status="RUNNING")
        tags = [RunTag(clean_name(key), value) for key, value in event.get("tags", {}).items()]
        self._client.log_batch(mlflow_run, tags=tags)
        flat = flatten(event["params"])
        params = [Param(clean_name(key)[:250], value) for key, value in flat.items()]
        for begin in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(mlflow_run, params=params[begin : begin + _MOST_PARAMS])
        config = canonical_json(event["params"]).decode()
        self._client.log_text(mlflow_run, config, "config.json")

    def _run_id(self, run: str, cursor: Cursor, stage: str, event: Event) -> str:
        """Return MLflow's id of a flow run or a stage: known, found by our tags, or new."""
        if stage in cursor.runs:
            return cursor.runs[stage]
        if not cursor.experiment:
            cursor.experiment = self._experiment(event.get("experiment", "sparring"))
        tags = {RUN_TAG: run, STAGE_TAG: stage, "mlflow.source.name": "sparring"}
        if stage:
            tags["mlflow.parentRunId"] = self._run_id(run, cursor, "", event)
        where = f"tags.`{RUN_TAG}` = '{run}' and tags.`{STAGE_TAG}` = '{stage}'"
        found = self._client.search_runs([cursor.experiment], where, max_results=1)
        if found:
            cursor.runs[stage] = found[0].info.run_id
        else:
            name = event.get("name", stage[:16]) if stage else run
            made = self._client.create_run(
                cursor.experiment, start_time=event["time"], tags=tags, run_name=name
            )
            cursor.runs[stage] = made.info.run_id
        return cursor.runs[stage]

    def _flush(self, run: str, cursor: Cursor, points: dict[str, list[Any]]) -> None:
        """Tell the collected metric points."""
        for stage, metrics in points.items():
            if not metrics:
                continue
            mlflow_run = self._run_id(run, cursor, stage, {"event": "metrics", "time": None})
            for begin in range(0, len(metrics), _MOST_METRICS):
                self._client.log_batch(mlflow_run, metrics=metrics[begin : begin + _MOST_METRICS])
        points.clear()

    def _experiment(self, name: str) -> str:
        """Return the experiment of a name, making it if there is none."""
        with FileLock(self._place.lock):
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            made = self._client.create_experiment(
                name, artifact_location=self._place.artifacts and f"{self._place.artifacts}/{name}"
            )
            # Without this tag the pages open in MLflow's mode for chat applications.
            kind = "mlflow.experimentKind"
            self._client.set_experiment_tag(made, kind, "custom_model_development")
            return str(made)


def _connect(place: TrackingPlace) -> MlflowClient:
    """Open MLflow, making or migrating its database once, whoever else starts now."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with FileLock(place.lock):
        client = MlflowClient(place.uri)
        client.search_experiments(max_results=1)
    return client


def _new_points(cursor: Cursor, event: Event) -> list[Any]:
    """Return an event's metric points, without the steps an earlier attempt told."""
    from mlflow.entities import Metric

    step = event["step"] or 0
    return [
        Metric(clean_name(name), float(value), event["time"], step)
        for name, value in event["values"].items()
        if event["step"] is None or cursor.is_new_step(event["stage"], name, step)
    ]


def _is_owner_alive(segment: Segment) -> bool:
    """Tell whether the process that writes a segment still runs (or one with its number)."""
    return Path("/proc", segment.path.stem.rpartition("-")[2]).exists()
