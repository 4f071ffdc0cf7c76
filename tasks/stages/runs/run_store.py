"""Flow runs: a folder for each, with its config, its status and the journal of its stage calls.

`runs/RUN/run.json` says what the run is and who works on it, `config.yaml` what was asked for,
`stages.journal` what happened. A run whose process died is found out by the next command.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.processes.termination import terminate_as_interrupt
from tasks.settings.errors import ConfigError, SparringError, StageError, did_you_mean
from tasks.stages.runs.context import ProgressSink, RunContext, current_run, entered
from tasks.stages.runs.run_sync import share_run
from tasks.stages.runs.tracking_events import prefect_tags, run_tags
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json, safe_join, write_atomic, write_json
from tasks.storage.home import Home, current_home
from tasks.storage.journal import read_records
from tasks.storage.locks import FileLock
from tasks.storage.trees import sweep_leftovers
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.spool import Spool

RunStatus = Literal["running", "completed", "failed", "interrupted", "killed"]
"""`interrupted` was told to stop, `killed` died without a word; both can be resumed."""

_STATUS = {"completed": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a flow run."""

    id: str
    """Our name of it."""
    flow: str
    """The flow's name."""
    status: RunStatus
    """How it is, or how it ended."""
    config_path: str
    """The file the config came from; may be empty."""
    started: str
    """When it was first started, ISO 8601, UTC."""
    updated: str
    """When it last began or ended, ISO 8601, UTC."""
    owner: dict[str, Any]
    """The process that works, or worked, on it."""
    prefect_flow_run: str = ""
    """Prefect's id of its newest flow run."""

    @property
    def is_abandoned(self) -> bool:
        """Whether it says that it is running and its process is dead."""
        return self.status == "running" and ProcessIdentity.from_json(self.owner).is_known_dead()


@contextmanager
def open_run(
    flow: str,
    *,
    config: Mapping[str, Any],
    config_text: str,
    config_path: str = "",
    home: Home | None = None,
    resume: str | None = None,
    experiment: str | None = None,
    mlruns: Path = Path("mlruns"),
    progress: ProgressSink | None = None,
    verify: bool = False,
) -> Iterator[RunContext]:
    """Begin a flow run, or go on with one, and write down how it ends.

    Args:
        flow: the flow's name.
        config: the whole resolved config as plain values.
        config_text: the same as YAML, kept with the run.
        config_path: the file it came from.
        home: where state is; the current home by default.
        resume: id of the run to go on with.
        experiment: of MLflow; the flow's name by default.
        mlruns: folder of MLflow's database, unless `MLFLOW_TRACKING_URI` names a server.
        progress: watches the stages.
        verify: check finished stages by reading every byte.

    Yields:
        The context that stage calls inside the block belong to.

    Raises:
        ConfigError: when there is no run to resume.
        StageError: when that run is still running.
    """
    home = (home or current_home()).ensure()
    reconcile_runs(home)
    inner = (*home.manifests.iterdir(), *home.store.iterdir())
    for folder in (home.root, home.work, home.leases, *inner):
        sweep_leftovers(folder)
    run = _claim(home, flow, resume, config_path, config_text)
    folder = run_folder(home, run.id)
    spool = Spool(home.spool, run.id)
    context = RunContext(home, run.id, verify=verify, spool=spool, ledger=folder / "stages.journal")
    if progress is not None:
        context.progress = progress
    recorder = Recorder(spool, mlruns, remote=context.remote)
    recorder.start()
    spool.run_started(
        flow=flow, experiment=experiment or flow, params=config, tags=run_tags(flow, config)
    )
    status: RunStatus = "interrupted"
    try:
        with entered(context), terminate_as_interrupt():
            yield context
        status = "completed"
    except Exception:
        status = "failed"
        raise
    finally:
        save_status(home, run.id, status)
        if status != "interrupted":  # who is told to stop does not wait for a remote
            share_run(context)
        keep_run_lineage(context)
        spool.run_finished(_STATUS.get(status, "KILLED"))
        recorder.close(timeout=10.0 if status == "interrupted" else 60.0)


def run_folder(home: Home, run_id: str) -> Path:
    """Return the folder of a run."""
    return safe_join(home.runs, run_id)


def list_runs(home: Home) -> list[Run]:
    """Return all runs, the newest first; one whose process died is called killed."""
    folders = (path.parent for path in home.runs.glob("*/run.json"))
    runs = [_as_it_is(_read(folder)) for folder in folders]
    return sorted(runs, key=lambda run: (run.started, run.id), reverse=True)


def load_run(home: Home, name: str) -> Run:
    """Return a run by its id, by the beginning of one, or the newest as `latest`.

    Raises:
        ConfigError: when no run, or more than one, is meant.
    """
    runs = list_runs(home)
    if name == "latest" and runs:
        return runs[0]
    matches = [run for run in runs if run.id == name] or [
        run for run in runs if run.id.startswith(name)
    ]
    if len(matches) != 1:
        known = [run.id for run in runs]
        problem = f"{len(matches)} runs begin with" if matches else "there is no run"
        raise ConfigError(f"{problem} {name!r} in {home.runs}{did_you_mean(name, known)}")
    return matches[0]


def stage_events(home: Home, run_id: str) -> list[dict[str, Any]]:
    """Return what happened to the stage calls of a run, in order.

    Each has `event` (started, finished), `time` and the fields of `StageRecord` but the metrics.
    """
    return read_records(run_folder(home, run_id) / "stages.journal")


def save_status(home: Home, run_id: str, status: RunStatus) -> None:
    """Write down how a run is."""
    folder = run_folder(home, run_id)
    write_json(folder / "run.json", asdict(replace(_read(folder), status=status, updated=_now())))


def save_prefect_run(home: Home, run_id: str, flow_run_id: str) -> None:
    """Write down which Prefect flow run works on a run."""
    folder = run_folder(home, run_id)
    write_json(folder / "run.json", asdict(replace(_read(folder), prefect_flow_run=flow_run_id)))
    context = current_run()
    if context.spool is not None and context.run_id == run_id:
        context.spool.tags(None, prefect_tags(flow_run_id))


def reconcile_runs(home: Home) -> list[str]:
    """Close the runs whose process died without a word, and return their ids.

    Their unfinished stages, and they themselves, are told to MLflow as killed; a resumed run goes
    on under the same MLflow run.
    """
    killed = []
    for path in home.runs.glob("*/run.json"):
        run = _read(path.parent)
        if not run.is_abandoned:
            continue
        spool = Spool(home.spool, run.id)
        for key in _unfinished_stages(home, run.id):
            spool.stage_finished(key, "KILLED", tags={})
        spool.run_finished("KILLED")
        save_status(home, run.id, "killed")
        killed.append(run.id)
    return killed


def keep_run_lineage(context: RunContext) -> None:
    """Spool a page of all that a run made and used; that it cannot be written stops nothing."""
    from tasks.stages.lineage.writing import write_lineage  # it reads runs, by this module

    # A run in which nothing ran is not worth starting MLflow for.
    if context.spool is None or all(record.state == "cached" for record in context.records):
        return
    try:
        page = write_lineage(context.home, context.run_id, context.spool.folder / "pages")
        context.spool.files(None, [page], links=True)
        context.spool.files(None, [page.with_suffix(".json")])
    except (OSError, StorageError, SparringError) as error:
        context.progress.note(context.run_id, f"its lineage is not recorded: {error}")


def _claim(home: Home, flow: str, resume: str | None, config_path: str, config_text: str) -> Run:
    """Make a run's folder, or take over one that nobody works on."""
    now, owner = _now(), current_process().to_json()
    if resume is None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        run_id = f"{flow}-{stamp}-{secrets.token_hex(2)}"
        run = Run(run_id, flow, "running", config_path, now, now, owner)
        # First the config: a run that is on record can be resumed.
        write_atomic(run_folder(home, run_id) / "config.yaml", config_text)
        write_json(run_folder(home, run_id) / "run.json", asdict(run))
        return run
    with FileLock(home.runs / ".claim.lock"):
        before = load_run(home, resume)
        if before.status == "running":
            by = ProcessIdentity.from_json(before.owner)
            raise StageError(f"run {before.id} is still running in {by}; wait for it or end it")
        run = replace(before, status="running", updated=now, owner=owner)
        write_json(run_folder(home, run.id) / "run.json", asdict(run))
    return run


def _unfinished_stages(home: Home, run_id: str) -> list[str]:
    """Return the keys of the stages that a run began and did not finish."""
    running: dict[str, bool] = {}
    for event in stage_events(home, run_id):
        running[event["key"]] = event["event"] == "started"
    return [key for key, is_running in running.items() if is_running]


def _as_it_is(run: Run) -> Run:
    """Return a run with its true status."""
    return replace(run, status="killed") if run.is_abandoned else run


def _read(folder: Path) -> Run:
    """Read a run's file."""
    return Run(**read_json(folder / "run.json"))


def _now() -> str:
    """Return the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
