"""Flow runs: a folder for each, with its config, its status and the journal of its stage calls.

`runs/RUN/run.json` says what the run is and who works on it, `config.yaml` what was asked for,
`stages.journal` what happened. A run whose process died is found out by the next command.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.settings.errors import ConfigError, StageError, UnknownNameError, closest, did_you_mean
from tasks.stages.runs.context import current_run
from tasks.stages.runs.run_journal import journal_file, stage_events
from tasks.stages.runs.states import JUDGE, STATES, WEIGHING, RunStatus, project_of
from tasks.stages.runs.tracking_events import prefect_tags
from tasks.storage.errors import CorruptError
from tasks.storage.files import safe_join, write_atomic
from tasks.storage.home import Home
from tasks.storage.journal import drop_damaged
from tasks.storage.locks import FileLock
from tasks.storage.sealed import read_sealed, read_sealed_text, sealed_text, write_sealed

ENDED_WELL: tuple[RunStatus, ...] = ("completed",)
"""The states of which `latest` means the newest run, wherever results are meant."""
OFFER = "offer.json"
"""The file of what a run offered as its result, in the run's folder."""
UNFINISHED: tuple[RunStatus, ...] = tuple(state for state in STATES if state != "completed")
"""The states of which `latest` means the newest run for `resume`."""
_RECORDS = ("run.json", "stages.journal")
_SHOWN = 8
"""Runs that a refusal names."""

_log = logging.getLogger("sparring.stages")


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
    journal_records: int = 0
    """Records that its journal held when it last ended; one with fewer was cut."""

    @property
    def is_abandoned(self) -> bool:
        """Whether it says that it is running and its process is dead."""
        return self.status == "running" and ProcessIdentity.from_json(self.owner).is_known_dead()

    @property
    def way_on(self) -> str:
        """What to type to bring it to its end; one that was refused is begun anew, once mended."""
        if self.is_refused and self.config_path:
            return f"sparring run {project_of(self.flow)[1]} -c {self.config_path}"
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
        save_config(home, run_id, config_text)
        save_run(home, run)
        return run
    with FileLock(home.runs / ".claim.lock"):
        before = load_run(home, resume)
        if before.status == "running":
            by = ProcessIdentity.from_json(before.owner)
            raise StageError(f"run {before.id} is still running in {by}; wait for it or end it")
        run = replace(before, status="running", updated=now, owner=owner)
        drop_damaged(journal_file(home, run.id))  # what it finds done is written down again
        save_config(home, run.id, config_text)  # its budget may be another
        save_run(home, run)
    return run


def run_folder(home: Home, run_id: str) -> Path:
    """Return the folder of a run."""
    return safe_join(home.runs, run_id)


def save_run(home: Home, run: Run) -> None:
    """Write down what is known of a run."""
    write_sealed(run_folder(home, run.id) / "run.json", asdict(run))


def save_config(home: Home, run_id: str, text: str) -> None:
    """Keep the configuration that a run is asked for, as YAML."""
    write_atomic(run_folder(home, run_id) / "config.yaml", sealed_text(text))


def config_file(home: Home, run_id: str) -> Path:
    """Return the file that holds, if it is there, the configuration of a run.

    Raises:
        CorruptError: When it is not what was written, naming it.
    """
    path = run_folder(home, run_id) / "config.yaml"
    with suppress(FileNotFoundError):
        read_sealed_text(path)
    return path


def list_runs(home: Home) -> list[Run]:
    """Return all runs, the newest first; one whose process died is called crashed.

    One whose record is damaged is left out with a warning, for the others are none the worse.
    """
    runs, damage = read_runs(home)
    for sentence in damage:
        _warn_once(sentence)
    return [replace(run, status="crashed") if run.is_abandoned else run for run in runs]


def read_runs(home: Home) -> tuple[list[Run], list[str]]:
    """Return all runs on record, the newest first, and a sentence for each damaged record."""
    runs, damage = [], []
    # A run that has called a stage was on record before.
    for folder in sorted({path.parent for path in home.runs.glob("*/*") if path.name in _RECORDS}):
        try:
            runs.append(_read(folder))
        except FileNotFoundError:
            damage.append(f"{folder} has a journal and no run.json; move that folder away")
        except CorruptError as error:
            damage.append(str(error))
    return sorted(runs, key=lambda run: (run.started, run.id), reverse=True), damage


def latest_run(home: Home, states: Collection[RunStatus] = ENDED_WELL) -> Run | None:
    """Return what `latest` means: the newest run in one of these states, or None without any run.

    Where none is in one of them it is the newest of all. What only weighs models does not count,
    but for a judge's run that did not end well where such runs are asked for.
    """
    open_states = set(states).difference(ENDED_WELL)
    own = [
        run
        for run in list_runs(home)
        if (flow := project_of(run.flow)[1]) not in WEIGHING
        or (flow == JUDGE and run.status in open_states)
    ]
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


def save_status(home: Home, run_id: str, status: RunStatus, *, is_refused: bool = False) -> None:
    """Write down the status of a run, and whether its configuration or data were refused."""
    run = _read(run_folder(home, run_id))
    records = len(stage_events(home, run_id))
    if status != "completed":  # one that was resumed has not found everything again
        records = max(records, run.journal_records)
    run = replace(run, status=status, updated=_now(), is_refused=is_refused)
    save_run(home, replace(run, journal_records=records))


def save_prefect_run(home: Home, run_id: str, flow_run_id: str) -> None:
    """Write down which Prefect flow run works on a run."""
    save_run(home, replace(_read(run_folder(home, run_id)), prefect_flow_run=flow_run_id))
    context = current_run()
    if context.spool is not None and context.run_id == run_id:
        context.spool.tags(None, prefect_tags(flow_run_id))


def _read(folder: Path) -> Run:
    """Read a run's file."""
    try:
        return Run(**read_sealed(folder / "run.json"))
    except (CorruptError, TypeError) as error:
        raise CorruptError(f"{folder} cannot be read: {error}; or move that folder away") from error


@lru_cache(maxsize=64)
def _warn_once(sentence: str) -> None:
    """Say something that would be true of each look at the runs."""
    _log.warning("%s", sentence)


def _now() -> str:
    """Return the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
