"""What processes leave in a home besides outputs: unfinished work, records, half-written files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tasks.stages.leases.lease import unclaimed
from tasks.stages.manifest import Manifest
from tasks.stages.retention.roots import Policy, is_worked_on
from tasks.stages.retention.sweep import JUST_USED, WORKED_ON, Candidate, is_fresh
from tasks.stages.runs.run_store import list_runs
from tasks.storage.durable import TEMPORARY_PREFIX, TRASH_PREFIX
from tasks.storage.files import remove_tree
from tasks.storage.home import Home
from tasks.storage.trees import delete_now
from tasks.tracking.mlflow_record.cursor import is_waiting


def find_leftovers(
    home: Home, policy: Policy, manifests: dict[str, Manifest]
) -> Iterator[Candidate]:
    """Yield what may be removed besides outputs; `manifests` are all of the home, by key."""
    yield from _work(home, policy, manifests)
    yield from _spool(home, policy)
    yield from _calls(home, policy)
    yield from _leftovers(home)


def _work(home: Home, policy: Policy, manifests: dict[str, Manifest]) -> Iterator[Candidate]:
    """Find unfinished work that is done by now, or that nobody went on with for a long time."""
    for folder in sorted(path for path in home.work.glob("*") if path.is_dir()):
        key, changed = folder.name, _changed(folder)
        manifest = manifests.get(key)
        if key.startswith(".") or is_fresh(changed, policy) or is_worked_on(home, key):
            continue
        if manifest is not None and manifest.folder(home).exists():
            why = "its stage is done"
        elif changed < time.time() - policy.days * 86400:
            why = f"nobody went on with it for {policy.days:g} days"
        else:
            continue
        remove = partial(_drop_work, home, key, policy)
        yield Candidate("work", f"work/{key[:16]}", why, [folder], remove)


def _drop_work(home: Home, key: str, policy: Policy) -> str:
    """Drop the attempts at a key, unless somebody works on it."""
    folder = home.work / key
    with unclaimed(home.leases, key) as is_free:
        if not is_free:
            return WORKED_ON
        if is_fresh(_changed(folder), policy):
            return JUST_USED
        remove_tree(folder)
    return ""


def _spool(home: Home, policy: Policy) -> Iterator[Candidate]:
    """Find records of old completed runs that MLflow has."""
    limit = datetime.now(UTC) - timedelta(days=policy.days)
    for run in list_runs(home):
        folder = home.spool / run.id
        if run.status != "completed" or datetime.fromisoformat(run.updated) > limit:
            continue
        if folder.is_dir() and not is_waiting(folder):
            why = "MLflow has these records"
            remove = partial(remove_tree, folder)
            yield Candidate("spool", f"spool/{run.id}", why, [folder], remove)


def _calls(home: Home, policy: Policy) -> Iterator[Candidate]:
    """Find descriptions of calls that nobody makes any more."""
    for path in sorted((home.root / "calls").glob("*.json")):
        key = path.name.partition(".")[0]
        old = path.stat().st_mtime < time.time() - policy.days * 86400
        if old and not is_worked_on(home, key):
            why = f"nobody made this call for {policy.days:g} days"
            yield Candidate("call", f"calls/{path.name}", why, [path], partial(remove_tree, path))


def _leftovers(home: Home) -> Iterator[Candidate]:
    """Find what killed processes left half written or half removed."""
    for path in _entries(home.root, 3):
        if not path.name.startswith((TEMPORARY_PREFIX, TRASH_PREFIX)):
            continue
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - 3600:
                name, why = str(path.relative_to(home.root)), "a killed process left it"
                yield Candidate("leftover", name, why, [path], partial(delete_now, path))


def _entries(folder: Path, depth: int) -> Iterator[Path]:
    """Yield what lies down to so many levels below; a folder may vanish meanwhile."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        yield folder / name
        if depth > 1:
            yield from _entries(folder / name, depth - 1)


def _changed(folder: Path) -> float:
    """Return when something in a folder last changed; 0 when it is gone."""
    newest = 0.0
    # Unlike `rglob`, this goes on when a folder vanishes while it is walked.
    for parent, _, names in os.walk(folder):
        for name in (".", *names):
            with suppress(FileNotFoundError):
                newest = max(newest, os.lstat(os.path.join(parent, name)).st_mtime)
    return newest
