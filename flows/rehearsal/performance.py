"""A small run of a flow: every stage, and where it does not get through, which stage and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from flows.configs.base import FlowConfig
from flows.registry import FlowEntry
from flows.rehearsal.branches import without_branch
from flows.runs.console import quiet_libraries
from tasks.settings.errors import SparringError, one_line
from tasks.settings.loading import dump_config
from tasks.stages.artifact import Artifact
from tasks.stages.call import StageCall
from tasks.stages.flow_run import open_run
from tasks.stages.plan import planning
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.runs.context import (
    PlannedStage,
    ProgressSink,
    RunContext,
    StageRecord,
    entered,
)
from tasks.stages.runs.run_store import claim_run, save_status
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home

Server = Callable[[], AbstractContextManager[Any]]
"""Opens a context in which Prefect's server answers."""
_Outcome = tuple[list[StageRecord], Artifact | None, Exception | None]


class Failure(NamedTuple):
    """What would have stopped the real run, or changed what comes out of it."""

    where: str
    """Title of the stage, or of what was looked at."""
    why: str
    """The error, in one sentence."""


class Performance(NamedTuple):
    """How a small run went."""

    records: list[StageRecord]
    """The stages that ran, in order."""
    failures: list[Failure]
    """What stopped it, branch by branch where there are branches."""
    missed: list[str]
    """Titles of stages that were not reached."""
    report: Artifact | None
    """What the flow returned, if it got so far."""


def plan_calls(entry: FlowEntry, config: FlowConfig) -> tuple[list[PlannedStage], list[StageCall]]:
    """Return every stage call that a run would make, with what it would be given.

    Raises:
        ConfigError: An input of the user's is missing.
    """
    quiet_libraries()
    with planning(current_home()) as run:
        entry.flow().fn(config)
    return run.planned, run.planned_calls


def perform(
    entry: FlowEntry, config: FlowConfig, sink: ProgressSink, server: Server | None = None
) -> Performance:
    """Run a small configuration whole in the current home.

    A branch that fails is left out, and the others are run.

    Args:
        entry: The flow.
        config: Small already.
        sink: Watches the stages.
        server: Gives a context in which Prefect's server answers, for stages that are placed. None
            starts no server: every stage runs here.
    """
    home = current_home().ensure()
    planned = plan_calls(entry, config)[0]
    records: dict[str, StageRecord] = {}
    failures: list[Failure] = []
    remaining: FlowConfig | None = config
    report = None
    with server() if server else nullcontext():
        while remaining is not None and report is None:
            run_small = _run_in_prefect if server else _run
            ran, report, error = run_small(entry, remaining, home, sink)
            new = {one.title: one for one in ran if one.state != "cached"}
            # What is found done was known already, or is the same as another stage.
            records = {one.title: one for one in ran} | records | new
            if error is not None:
                failed = next((one for one in ran if one.state == "failed"), None)
                where = failed.title if failed else "before the first stage"
                failures.append(Failure(where, _sentence(error)))
                remaining = without_branch(remaining, failed.label) if failed else None
    missed = [one.title for one in planned if one.title not in records]
    return Performance(list(records.values()), failures, missed, report)


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of this process and of its children during the block; None removes one."""
    before = {name: os.environ.get(name) for name in changes}

    def put(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(changes)
    try:
        yield
    finally:
        put(before)


def _run(entry: FlowEntry, config: FlowConfig, home: Home, sink: ProgressSink) -> _Outcome:
    run_id = claim_run(home, entry.name, None, "", dump_config(config)).id
    run = RunContext(home, run_id, progress=sink)
    try:
        with entered(run):
            report = entry.flow().fn(config)
            fetch_artifact(report, home, run.remote)
    except Exception as error:  # whatever stops it would have stopped the real one
        save_status(home, run_id, "failed")
        return run.records, None, error
    save_status(home, run_id, "completed")
    return run.records, report, None


def _run_in_prefect(
    entry: FlowEntry, config: FlowConfig, home: Home, sink: ProgressSink
) -> _Outcome:
    from flows.runs.flow_call import call_flow  # it brings Prefect

    records: list[StageRecord] = []
    try:
        with open_run(
            entry.name,
            config=config.model_dump(mode="json"),
            config_text=dump_config(config),
            home=home,
            mlruns=home.root / "mlruns",
            progress=sink,
        ) as run:
            records = run.records
            report = call_flow(entry.flow(), config, run.run_id)
    except Exception as error:  # as above
        return records, None, error
    return records, report, None


def _sentence(error: Exception) -> str:
    text, is_ours = one_line(error, 10_000), isinstance(error, SparringError | StorageError)
    return text if is_ours else f"{type(error).__name__}: {text}"
