"""Runs whose process died: found out by the next command, marked, and told to MLflow."""

from __future__ import annotations

from tasks.stages.runs.run_journal import stage_events, unfinished_stages
from tasks.stages.runs.run_store import read_runs, save_status
from tasks.stages.runs.states import STATES
from tasks.storage.home import Home
from tasks.tracking.spool import Spool


def reconcile_runs(home: Home) -> list[str]:
    """Mark the runs whose process died as crashed, and return their ids.

    Their unfinished stages, and they themselves, are told to MLflow as crashed; a resumed run goes
    on under the same MLflow run.
    """
    crashed = []
    told = STATES["crashed"].mlflow
    for run in read_runs(home)[0]:
        if not run.is_abandoned:
            continue
        spool = Spool(home.spool, run.id)
        for key in unfinished_stages(stage_events(home, run.id)):
            spool.stage_finished(key, told, tags={"sparring.state": "crashed"})
        spool.run_finished(told, "crashed")
        save_status(home, run.id, "crashed")
        crashed.append(run.id)
    return crashed
