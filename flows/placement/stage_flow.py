"""The flow `placed-stage`: one stage call of another flow run, made by a worker of a pool.

Workers get it as the deployment `placed-stage/POOL`, by module path; they need this package, and
the remote or home of the flow. Nobody starts it by hand.
"""

from __future__ import annotations

import logging
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from prefect import flow
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks.settings.errors import ConfigError, SparringError, did_you_mean
from tasks.settings.passwords import without_passwords
from tasks.stages.prefect_task import StageTask, run_call
from tasks.stages.remote.call_message import CallOutcome, read_call, rebuild_call, write_outcome
from tasks.stages.runs.context import LoggingSink, RunContext, StageRecord, entered
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.mlflow_record.connection import server_on_record
from tasks.tracking.mlflow_record.helper_events import push_leftovers
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import Spool

NAME = "placed-stage"
"""Of the flow, in Prefect."""
ENTRYPOINT = "flows.placement.stage_flow.placed_stage"
"""Where a worker finds it."""

_RECORD_SECONDS = 20.0
_log = logging.getLogger("sparring.flows")


@flow(name=NAME, persist_result=False, validate_parameters=True)
def placed_stage(stage: str, key: str, run: str) -> None:
    """Make one stage call of a flow run that goes on elsewhere.

    Args:
        stage: The stage's name.
        key: Of the call; its description lies under this name.
        run: Our id of the flow run that waits for it.
    """
    home, remote = current_home().ensure(), open_remote()
    if not os.environ.get("SPARRING_HOME"):
        get_run_logger().warning("SPARRING_HOME is not set: %s is not kept", home.root)
    try:
        record = _make_call(home, remote, stage, key, run)
    except BaseException as error:
        state = "failed" if isinstance(error, Exception) else "interrupted"
        name, message = type(error).__name__, without_passwords(str(error) or repr(error))
        outcome = CallOutcome(flow_run.id or "", state, error=name, message=message)
        try:
            write_outcome(home, remote, key, outcome)
        except Exception as second:  # the first error is the one to be seen
            get_run_logger().warning("how it ended could not be written down: %s", second)
        raise
    outcome = CallOutcome(flow_run.id or "", record.state, record.attempt, record.digest)
    write_outcome(home, remote, key, outcome)


def _make_call(home: Home, remote: Remote | None, stage: str, key: str, run: str) -> StageRecord:
    """Rebuild the call and make it, as a task run of this flow run."""
    call = rebuild_call(read_call(home, remote, key), stage_named(stage).spec, home)
    with recorded(home, remote, run) as spool:
        context = RunContext(home, run, spool=spool, remote=remote, progress=_PageSink())
        with entered(context):
            run_call(call)
    return context.records[-1]


@contextmanager
def recorded(home: Home, remote: Remote | None, run: str) -> Iterator[Spool]:
    """Tell MLflow during the block what happens in it, as a helper of the run.

    Where no server is known, the events stay in the home that the flow shares, or go to the remote:
    the flow's process tells them.
    """
    spool = Spool(home.spool, run)
    if os.environ.get("MLFLOW_TRACKING_URI") or server_on_record(home.root):
        recorder = Recorder(spool, Path("mlruns"), owns_run=False, remote=remote)
        recorder.start()
        try:
            yield spool
        finally:
            recorder.close(timeout=_RECORD_SECONDS)
        return
    try:
        yield spool
    finally:
        if remote is not None:
            try:
                push_leftovers(remote, home.spool, run)
            except (SparringError, StorageError) as error:
                _log.warning("records of this stage stay in %s: %s", spool.folder, error)


class _PageSink(LoggingSink):
    """Puts what a stage says into the logs of the flow run's page."""

    def stage_started(self, record: StageRecord) -> None:
        """Write a log line."""
        self.note("", f"starts, attempt {record.attempt}")

    def stage_finished(self, record: StageRecord) -> None:
        """Write a log line."""
        self.note("", f"{record.state} in {record.seconds:.1f} s {record.error}".rstrip())

    def note(self, title: str, text: str) -> None:
        """Write a log line; the page's own title says of which stage."""
        try:
            get_run_logger().info(text)
        except MissingContextError:  # said from a thread of the stage's own
            _log.info(text)


def stage_named(name: str) -> StageTask:
    """Return a stage of the house; what is not a file of `tasks/` is never imported.

    Raises:
        ConfigError: There is none of that name: the flow runs another version of Sparring.
    """
    files = pkgutil.iter_modules([str(Path(__file__).parents[2] / "tasks")])
    known = [module.name for module in files if not module.ispkg]
    if name not in known:
        raise ConfigError(
            f"this worker's Sparring has no stage {name!r}{did_you_mean(name, known)}; install the "
            "version that the flow runs"
        )
    stage: StageTask = getattr(import_module(f"tasks.{name}"), name)
    return stage
