"""Runs, plans and resumes a flow: the server around it, and the records of it.

A run in which everything is done already starts no server and imports neither torch nor mlflow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from flows.configs.recurring import RecurringConfig, flow_name
from flows.registry import FlowEntry, recorded_flow
from flows.runs.console import quiet_libraries
from flows.runs.preflight import check_gpus, check_keys, check_models
from flows.runs.terminal import TerminalSink
from flows.servers.mlflow_server import mlflow_environment
from flows.servers.prefect_server import use_prefect_server
from flows.servers.shared_server import start_prefect_server, stop
from flows.servers.supervisor import supervising
from flows.steps.hub_commits import pinned
from tasks.processes.termination import FirstInterrupt
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, SparringError
from tasks.settings.loading import apply_overrides, dump_config, load_config, validate
from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.flow_run import open_run
from tasks.stages.lineage.run_report import save_run_report
from tasks.stages.manifest import load_manifest
from tasks.stages.plan import planning
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.context import PlannedStage, StageRecord
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.references import reference_of
from tasks.stages.runs.run_inputs import input_changes, save_inputs
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import UNFINISHED, Run, config_file, list_runs, load_run
from tasks.stages.runs.states import is_waiting
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home
from tasks.storage.plain import plain_metrics

ASKING_STAGES = frozenset(
    {"ask_people", "collect_gold", "judge_by_people", "judge_responses", "pick_gold"}
)
"""The stages that may ask servers which want a key or token."""
_LAST_WORDS_SECONDS = 3.0


class Outcome(NamedTuple):
    """How a run ended."""

    run_id: str
    """Our name of it; empty when there was nothing to do and no run was recorded."""
    report: Artifact
    """What the flow returned."""
    stages: int
    """Calls of stages."""
    cached: int
    """Those that had been done before."""
    awaits: tuple[StageRecord, ...] = ()
    """The stages that wait for people; where there are any there is no report yet."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, with the folder that holds the report's files."""
        if self.awaits:
            waiting = {record.title: record.error for record in self.awaits}
            counts = {"stages": self.stages, "cached": self.cached}
            return {"run": self.run_id, **counts, "report": None, "waiting": waiting}
        report = {
            "artifact": reference_of(self.report),
            "folder": str(fetch_artifact(self.report)),
            "metrics": plain_metrics(self.report.metrics),
        }
        return {"run": self.run_id, "stages": self.stages, "cached": self.cached, "report": report}


def plan_flow(entry: FlowEntry, config: FrozenConfig) -> tuple[list[PlannedStage], Artifact]:
    """Return what each stage call of a flow would do, in order, and the flow's result.

    Raises:
        ConfigError: An input of the user's is missing.
    """
    quiet_libraries()
    # Calling the flow itself would need a server; its function is enough to ask what it would do.
    with planning(current_home()) as run:
        result = entry.flow().fn(config)
    return run.planned, result


def run_flow(
    entry: FlowEntry,
    config: FrozenConfig,
    console: Console,
    *,
    config_path: str = "",
    resume: str | None = None,
    verify: bool = False,
    always: bool = False,
) -> Outcome:
    """Run a flow, or go on with its run `resume`, skipping what is done.

    With `verify` finished stages are checked by reading every byte; `always` records a run even
    when every stage is done, as the flow does more than its stages.

    Raises:
        SparringError: Anything the user can act on.
    """
    home = current_home().ensure()
    config = pinned(config)
    planned, result = plan_flow(entry, config)
    inputs = _inputs(config)
    for sentence in input_changes(home, resume, inputs) if resume else ():
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    is_done = all(stage.state == "done" for stage in planned)
    name = flow_name(entry.name, config)
    known = is_done and _has_shown(home, name, result)
    if known and resume is None and not (verify or always):
        return Outcome("", result, len(planned), len(planned))
    check_gpus(config)
    if any(stage.stage in ASKING_STAGES and stage.state != "done" for stage in planned):
        check_keys(config)
    if isinstance(config, RecurringConfig):
        check_models(config)
    sink = TerminalSink(console, planned)
    with (
        FirstInterrupt(sink.stopping),
        prefect_server(home, console),
        sink.live(),
        open_run(
            name,
            config=config.model_dump(mode="json"),
            changed=config.model_dump(mode="json", exclude_defaults=True),
            config_text=dump_config(config),
            config_path=config_path,
            home=home,
            resume=resume,
            progress=sink,
            verify=verify,
        ) as run,
    ):
        save_inputs(home, run.run_id, inputs)
        with _saying_how_to_go_on(run.run_id), _letting_wait():
            from flows.runs.flow_call import call_flow  # it brings Prefect

            result = call_flow(entry.flow(), config, run.run_id)
    cached = sum(record.state == "cached" for record in run.records)
    return Outcome(run.run_id, result, len(run.records), cached, tuple(run.awaits))


def _has_shown(home: Home, flow: str, result: Artifact) -> bool:
    """Whether a run of the flow came to this result: what another project's did is none of its."""
    runs = (run for run in list_runs(home) if run.flow == flow)
    return any(one["key"] == result.key for run in runs for one in stage_events(home, run.id))


def _inputs(config: FrozenConfig) -> dict[str, str]:
    """Return the digests of the user's files that a run would read."""
    if not isinstance(config, RecurringConfig):
        return {}
    from flows.steps.inputs import input_digests  # it brings Prefect, which planning made quiet

    return input_digests(config)


@contextmanager
def _saying_how_to_go_on(run_id: str) -> Iterator[None]:
    """Let who stopped the run in the block be told that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"all that is done is kept, `sparring resume {run_id}` goes on from here")
        raise


@contextmanager
def _letting_wait() -> Iterator[None]:
    """Let a flow that waits for people end: that is no error."""
    try:
        yield
    except BaseException as error:
        if not is_waiting(error):
            raise


def resume_flow(name: str, console: Console, overrides: Sequence[str] = ()) -> Outcome:
    """Go on with a run, named as for `find_run`, with the configuration it began with.

    `overrides` replace its budgets, as `budget.hours=4`, and nothing else.

    Raises:
        ConfigError: There is no such run, or something else is to be replaced.
        StageError: It is still running.
    """
    home = current_home()
    run = find_run(home, name, latest=UNFINISHED)
    entry, config = recorded_config(home, run)
    for one in overrides:
        if "budget" not in one.partition("=")[0].split("."):
            raise ConfigError(
                f"--set {one!r}: a run goes on as it was begun, but for its budgets; begin another "
                "with `sparring run`, which skips what is done"
            )
    tree = apply_overrides(config.model_dump(mode="json"), overrides)
    config = validate(entry.config_class(), tree, f"run {run.id}")
    return run_flow(entry, config, console, config_path=run.config_path, resume=run.id)


def recorded_config(home: Home, run: Run) -> tuple[FlowEntry, FrozenConfig]:
    """Return the flow and the configuration a run was begun with."""
    entry = recorded_flow(run.flow)
    path = config_file(home, run.id)
    return entry, validate(entry.config_class(), load_config(path), str(path))


@contextmanager
def prefect_server(home: Home, console: Console) -> Iterator[str]:
    """Have a real Prefect server during the block; one that this starts is stopped at its end."""
    text = "connecting to Prefect, or starting it …"
    with console.status(text) if console.is_terminal else nullcontext():
        handle = start_prefect_server(home)
    is_ours = handle.pid is not None
    try:
        os.environ.update(mlflow_environment())
        use_prefect_server(home, handle.url)
        from flows.servers.dead_runs import close_dead_runs

        close_dead_runs(home)
        try:
            with supervising(home) if is_ours else nullcontext():
                yield handle.url
        finally:
            _tell_the_rest()
    finally:
        stop(handle)


def _tell_the_rest() -> None:
    """Send Prefect's server what its client still has for it, while the server is there.

    At the process's exit the client would ask a server that is gone for a minute or two.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_LAST_WORDS_SECONDS)


def report_of(name: str) -> Path:
    """Return the folder of the report of a run, named as for `find_run`.

    Raises:
        ConfigError: The run has not come to its report, or what the report rests on is damaged.
    """
    home = current_home()
    run = find_run(home, name)
    planned, result = plan_flow(*recorded_config(home, run))
    if result.is_pending:
        gone = next((one for one in planned if one.state in ("to run", "partly done")), None)
        if gone and run.status == "completed":
            raise ConfigError(
                f"the report of run {run.id} needs {gone.title} again: {gone.reason}; "
                f"`{run.way_on}`"
            )
        raise ConfigError(f"run {run.id} is {run.status} and has no report yet; `{run.way_on}`")
    return shown_report(result, run.id)


def shown_report(result: Artifact, run_id: str = "") -> Path:
    """Return the folder of a flow's result, or the copy of its report that says whose it is.

    Args:
        result: What the flow returned.
        run_id: The run that shows it; empty for the one that made it.
    """
    home, folder = current_home(), fetch_artifact(result)
    if result.stage == EXTERNAL or (made := load_manifest(home, result.stage, result.key)) is None:
        return folder
    try:
        run = load_run(home, run_id or str(made.provenance.get("run") or "none"))
        _, config = recorded_config(home, run)
        return save_run_report(home, run, config.model_dump(mode="json"), result)
    except (OSError, SparringError, StorageError):  # of another machine, or of another version
        return folder
