"""A run's own records on the remote, so that another machine knows which stages it used.

`runs/RUN/` there holds the run's configuration, the journal of its stage calls and, written last,
what the run is.
"""

from __future__ import annotations

from pathlib import Path

from tasks.settings.errors import ConfigError, did_you_mean
from tasks.stages.remote.layout import check_layout, runs_folder
from tasks.stages.runs.context import RunContext, noting_failure
from tasks.stages.runs.run_store import OFFER
from tasks.storage.files import safe_join, write_atomic
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote

_FILES = ("config.yaml", "stages.journal", "run.json", OFFER)


def push_run(home: Home, remote: Remote, run_id: str) -> None:
    """Copy a run's records to the remote, replacing older ones."""
    check_layout(remote, to_write=True)
    folder = safe_join(home.runs, run_id)
    for name in _FILES:
        if (folder / name).exists():
            remote.put(f"{runs_folder(run_id)}{name}", (folder / name).read_bytes())


def share_run(context: RunContext) -> None:
    """Copy the records of a run that ended to the remote; a failure is only noted."""
    if context.remote is None:
        return
    failure = f"its records are not on the remote, `sparring push {context.run_id}`"
    with noting_failure(context, context.run_id, failure):
        push_run(context.home, context.remote, context.run_id)


def fetch_run(home: Home, remote: Remote, name: str) -> str:
    """Copy a run's records here, unless they are here, and return its id; its beginning is enough.

    Raises:
        ConfigError: When no run there, or more than one, is meant.
    """
    check_layout(remote)
    names = remote.names(runs_folder(name).rstrip("/"))
    found = sorted({Path(one).parent.name for one in names if one.endswith("/run.json")})
    found = [name] if name in found else found
    if len(found) != 1:
        problem = f"{len(found)} runs begin with" if found else "there is no run or artifact"
        raise ConfigError(f"{problem} {name!r} on {remote.url}{did_you_mean(name, found)}")
    folder = safe_join(home.runs, found[0])
    if not (folder / "run.json").exists():
        for file in _FILES:
            data = remote.get(f"{runs_folder(found[0])}{file}")
            if data is not None:
                write_atomic(folder / file, data)
    return found[0]
