"""Flow runs: a folder for each, with its config, its status and the journal of its stage calls.

`runs/RUN/run.json` says what the run is and who works on it, `config.yaml` what was asked for,
`stages.journal` what happened. A run whose process died is found out by the next command.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.settings.errors import ConfigError, StageError, UnknownNameError, closest, did_you_mean
from tasks.stages.runs.context import current_run
from tasks.stages.runs.states import PROMOTION, STATES, RunStatus
from tasks.stages.runs.tracking_events import prefect_tags
from tasks.storage.files import read_json, safe_join, write_atomic, write_json
from tasks.storage.home import Home
from tasks.storage.journal import read_records
from tasks.storage.locks import FileLock
from tasks.tracking.spool import Spool

ENDED_WELL: tuple[RunStatus, ...] = ("completed",)
"""The states of which `latest` means the newest run, wherever results are meant."""
UNFINISHED: tuple[RunStatus, ...] = tuple(state for state in STATES if state != "completed")
"""The states of which `latest` means the newest run for `resume`."""
_SHOWN = 8
"""Runs that a refusal names."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a flow run."""

    id: str
    """Our name of it."""
    flow: str
    """The flow's name."""
    status: RunStatus
    """State that the run is in, or ended in."""
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
    is_refused: bool = False
    """Whether it failed on its configuration or its data: gone on with, it would fail again."""

    @property
    def is_abandoned(self) -> bool:
        """Whether it says that it is running and its process is dead."""
        return self.status == "running" and ProcessIdentity.from_json(self.owner).is_known_dead()

    @property
    def way_on(self) -> str:
        """What to type to bring it to its end; one that was refused is begun anew, once mended."""
        if self.is_refused and self.config_path:
            return f"sparring run {self.flow} -c {self.config_path}"
        return f"sparring resume {self.id}"


def claim_run(home: Home, flow: str, resume: str | None, config_path: str, config_text: str) -> Run:
    """Make a new run's folder, or take over the run `resume`, on which nobody works.

    Raises:
        ConfigError: There is no run to resume.
        StageError: That run is still running.
    """
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


def run_folder(home: Home, run_id: str) -> Path:
    """Return the folder of a run."""
    return safe_join(home.runs, run_id)


def list_runs(home: Home) -> list[Run]:
    """Return all runs, the newest first; one whose process died is called crashed."""
    folders = (path.parent for path in home.runs.glob("*/run.json"))
    runs = [_as_it_is(_read(folder)) for folder in folders]
    return sorted(runs, key=lambda run: (run.started, run.id), reverse=True)


def latest_run(home: Home, states: Collection[RunStatus] = ENDED_WELL) -> Run | None:
    """Return what `latest` means: the newest run in one of these states, or None without any run.

    Where none is in one of them it is the newest of all. Promotions make nothing and do not count.
    """
    own = [run for run in list_runs(home) if run.flow != PROMOTION]
    return next((run for run in own if run.status in states), own[0] if own else None)


def load_run(home: Home, name: str, latest: Collection[RunStatus] = ENDED_WELL) -> Run:
    """Return a run by its id, by the beginning of one, or as `latest`.

    Args:
        home: The home that holds the runs.
        name: What the user typed.
        latest: The states of which `latest` is the newest run, as for `latest_run`.

    Raises:
        ConfigError: When more than one run is meant.
        UnknownNameError: When none is; the newest and the nearest are named.
    """
    runs = list_runs(home)
    if name == "latest" and (last := latest_run(home, latest)):
        return last
    matches = [run for run in runs if run.id == name] or [
        run for run in runs if run.id.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(run.id for run in matches[:_SHOWN])
        raise ConfigError(f"{len(matches)} runs begin with {name!r}: {several}; give more of it")
    if not runs:
        raise UnknownNameError(
            f"there is no run {name!r} in {home.runs}: none was begun; `sparring run` begins one"
        )
    near = closest(name, [run.id for run in runs])
    newest = list(dict.fromkeys([*filter(None, [near]), *(run.id for run in runs[:_SHOWN])]))
    raise UnknownNameError(f"there is no run {name!r} in {home.runs}{did_you_mean(name, newest)}")


def stage_events(home: Home, run_id: str) -> list[dict[str, Any]]:
    """Return what happened to the stage calls of a run, in order.

    Each has `event` (started, finished), `time` and the fields of `StageRecord` but the metrics.
    """
    return read_records(run_folder(home, run_id) / "stages.journal")


def stage_ends(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how each stage call of a run is, from what happened to it: its newest event.

    `seconds` is the time of all its attempts at this key, and what the run itself has completed
    stays completed when a resumed run finds it done.
    """
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        title = f"{event['stage']}/{event['label']}"
        before = found.get(title, {})
        if before.get("key") == event["key"]:
            event = {**event, "seconds": event["seconds"] + before["seconds"]}
            if (before["state"], event["state"]) == ("completed", "cached"):
                event = before
        found[title] = event
    return list(found.values())


def save_status(home: Home, run_id: str, status: RunStatus, *, is_refused: bool = False) -> None:
    """Write down the status of a run, and whether its configuration or data were refused."""
    folder = run_folder(home, run_id)
    run = replace(_read(folder), status=status, updated=_now(), is_refused=is_refused)
    write_json(folder / "run.json", asdict(run))


def save_prefect_run(home: Home, run_id: str, flow_run_id: str) -> None:
    """Write down which Prefect flow run works on a run."""
    folder = run_folder(home, run_id)
    write_json(folder / "run.json", asdict(replace(_read(folder), prefect_flow_run=flow_run_id)))
    context = current_run()
    if context.spool is not None and context.run_id == run_id:
        context.spool.tags(None, prefect_tags(flow_run_id))


def reconcile_runs(home: Home) -> list[str]:
    """Mark the runs whose process died as crashed, and return their ids.

    Their unfinished stages, and they themselves, are told to MLflow as crashed; a resumed run goes
    on under the same MLflow run.
    """
    crashed = []
    told = STATES["crashed"].mlflow
    for path in home.runs.glob("*/run.json"):
        run = _read(path.parent)
        if not run.is_abandoned:
            continue
        spool = Spool(home.spool, run.id)
        for key in _unfinished_stages(home, run.id):
            spool.stage_finished(key, told, tags={"sparring.state": "crashed"})
        spool.run_finished(told, "crashed")
        save_status(home, run.id, "crashed")
        crashed.append(run.id)
    return crashed


def _unfinished_stages(home: Home, run_id: str) -> list[str]:
    """Return the keys of the stages that a run began and did not finish."""
    running: dict[str, bool] = {}
    for event in stage_events(home, run_id):
        running[event["key"]] = event["event"] == "started"
    return [key for key, is_running in running.items() if is_running]


def _as_it_is(run: Run) -> Run:
    """Return a run with its true status."""
    return replace(run, status="crashed") if run.is_abandoned else run


def _read(folder: Path) -> Run:
    """Read a run's file."""
    return Run(**read_json(folder / "run.json"))


def _now() -> str:
    """Return the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
