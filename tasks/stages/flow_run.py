"""A flow run from its beginning to its end: its records here, in MLflow and on the remote."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.processes.termination import heeding_stops, terminate_as_interrupt, unbroken
from tasks.settings.errors import ConfigError
from tasks.stages.lineage.writing import record_lineage
from tasks.stages.runs import run_store
from tasks.stages.runs.context import ProgressSink, RunContext, entered
from tasks.stages.runs.progress import KeptProgress
from tasks.stages.runs.reconciling import reconcile_runs
from tasks.stages.runs.run_journal import stopped_at
from tasks.stages.runs.run_sync import share_run
from tasks.stages.runs.states import STATES, STOPPED, RunStatus
from tasks.stages.runs.tracking_events import run_tags, shown_params, without_budgets
from tasks.storage.home import Home, current_home
from tasks.storage.trees import sweep_leftovers
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.spool import Spool


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
    changed: Mapping[str, Any] | None = None,
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
        changed: The part of the config that is not as by default, which MLflow has columns for;
            None for all of it.
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
    begun: tuple[RunContext, Recorder] | None = None
    status: RunStatus = "interrupted"
    is_refused = False
    params = without_budgets(config)
    try:
        with unbroken():  # or it would stay `running`
            run_id = run_store.claim_run(home, flow, resume, config_path, config_text).id
            spool = Spool(home.spool, run_id)
            begun = context, _ = _begin(home, spool, mlruns, progress, verify=verify)
            spool.run_started(
                flow=flow,
                experiment=experiment or flow,
                params=params,
                shown=params if changed is None else shown_params(params, changed),
                tags=run_tags(flow, config),
            )
        with entered(context), terminate_as_interrupt(), heeding_stops():
            yield context
        status = "completed"
    except Exception as error:
        status = "failed"
        is_refused = isinstance(error, ConfigError)
        raise
    finally:
        if begun is not None:
            _end(*begun, status, is_refused=is_refused)


def _begin(
    home: Home, spool: Spool, mlruns: Path, progress: ProgressSink | None, *, verify: bool
) -> tuple[RunContext, Recorder]:
    """Return the context of a run, and what sends its records, at work."""
    run_id = spool.folder.name
    folder = run_store.run_folder(home, run_id)
    journal = folder / "stages.journal"
    context = RunContext(home, run_id, verify=verify, spool=spool, journal=journal)
    context.progress = KeptProgress(folder, progress or context.progress)
    say = functools.partial(context.progress.note, "MLflow")
    recorder = Recorder(spool, mlruns, remote=context.remote, say=say)
    recorder.start()
    return context, recorder


def _end(context: RunContext, recorder: Recorder, status: RunStatus, *, is_refused: bool) -> None:
    """Write down how a run ended, and tell MLflow and the remote."""
    status = context.ending or status
    timeout = 3.0
    try:
        with unbroken():
            run_store.save_status(context.home, context.run_id, status, is_refused=is_refused)
        if status not in STOPPED:  # who is told to stop does not wait for a remote
            share_run(context)
            # A run in which nothing ran is not worth starting MLflow for.
            if any(record.state != "cached" for record in context.records):
                record_lineage(context, context.run_id)
            timeout = 60.0
    finally:
        if context.spool is not None:
            where = stopped_at(context.home, context.run_id) if status in STOPPED else ""
            context.spool.run_finished(STATES[status].mlflow, status, where)
        if not recorder.close(timeout) and recorder.problem:
            context.progress.note(
                "MLflow",
                f"records of this run wait in {context.home.spool}, and the next command that runs "
                f"or `sparring up` sends them: {recorder.problem}",
            )
