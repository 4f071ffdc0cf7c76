"""A flow run from its beginning to its end: its records here, in MLflow and on the remote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.processes.termination import terminate_as_interrupt
from tasks.settings.errors import SparringError
from tasks.stages.lineage.writing import write_lineage
from tasks.stages.runs.context import ProgressSink, RunContext, entered
from tasks.stages.runs.run_store import (
    RunStatus,
    claim_run,
    reconcile_runs,
    run_folder,
    save_status,
)
from tasks.stages.runs.run_sync import share_run
from tasks.stages.runs.tracking_events import run_tags
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home
from tasks.storage.trees import sweep_leftovers
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.spool import Spool

_STATUS = {"completed": "FINISHED", "failed": "FAILED"}


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
        flow: The flow's name.
        config: The whole resolved config as plain values.
        config_text: The same as YAML, kept with the run.
        config_path: The file it came from.
        home: The home that holds the state; the current one by default.
        resume: Id of the run to go on with.
        experiment: MLflow's experiment; the flow's name by default.
        mlruns: Folder of MLflow's database, unless `MLFLOW_TRACKING_URI` names a server.
        progress: Is told what the stages do.
        verify: Check finished stages by reading every byte.

    Yields:
        The context that stage calls inside the block belong to.

    Raises:
        ConfigError: When there is no run to resume.
        StageError: When that run is still running.
    """
    home = (home or current_home()).ensure()
    reconcile_runs(home)
    inner = (*home.manifests.iterdir(), *home.store.iterdir())
    for folder in (home.root, home.work, home.leases, *inner):
        sweep_leftovers(folder)
    run = claim_run(home, flow, resume, config_path, config_text)
    folder = run_folder(home, run.id)
    spool = Spool(home.spool, run.id)
    context = RunContext(
        home, run.id, verify=verify, spool=spool, journal=folder / "stages.journal"
    )
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
        _record_lineage(context)
        spool.run_finished(_STATUS.get(status, "KILLED"))
        recorder.close(timeout=10.0 if status == "interrupted" else 60.0)


def _record_lineage(context: RunContext) -> None:
    """Spool a page of all that a run made and used; that it cannot be written stops nothing."""
    # A run in which nothing ran is not worth starting MLflow for.
    if context.spool is None or all(record.state == "cached" for record in context.records):
        return
    try:
        page = write_lineage(context.home, context.run_id, context.spool.folder / "pages")
        context.spool.files(None, [page], links=True)
        context.spool.files(None, [page.with_suffix(".json")])
    except (OSError, StorageError, SparringError) as error:
        context.progress.note(context.run_id, f"its lineage is not recorded: {error}")
