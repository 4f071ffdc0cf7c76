"""What a helper could not log travels to the run's own home through the remote.

A helper works on stages of a run that another home began. At its end it puts the events that it
could not log under `spool/RUN/HOME/`; the run's own process fetches them into a spool folder
`RUN@HOME` and logs them at its end. The helper may log them too when it can: an event that is
logged twice changes nothing.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from tasks.storage.files import remove_tree, safe_join, write_atomic
from tasks.tracking.mlflow_record.cursor import is_waiting
from tasks.tracking.remote.base import Remote

_MARK = "@"


def push_leftovers(remote: Remote, spool_root: Path, run: str) -> int:
    """Put the events of a run that this home could not log on the remote; return how many files.

    Raises:
        StorageError: The remote does not take them.
    """
    folder = safe_join(Path(spool_root), run)
    if not is_waiting(folder):
        return 0
    place = f"spool/{run}/{_home_name(spool_root)}"
    segments = sorted(folder.glob("*.journal"))
    for path in segments:
        remote.put(f"{place}/{path.name}", path.read_bytes())
    # Last: whoever finds it has all that it counts.
    cursor = folder / "cursor.json"
    remote.put(f"{place}/cursor.json", cursor.read_bytes() if cursor.exists() else b"{}")
    return len(segments)


def pull_leftovers(remote: Remote, spool_root: Path, run: str) -> list[str]:
    """Fetch the events of a run that helpers could not log, to log them from here.

    Returns:
        Names on the remote, to be given to `drop_leftovers` once all is logged.

    Raises:
        StorageError: The remote does not answer.
    """
    names = remote.names(f"spool/{run}/")
    whole = {name.rpartition("/")[0] for name in names if name.endswith("/cursor.json")}
    taken = []
    for place in sorted(whole):
        helper = place.rpartition("/")[2]
        if helper == _home_name(spool_root):
            continue
        folder = safe_join(Path(spool_root), f"{run}{_MARK}{helper}")
        for name in (name for name in names if name.startswith(f"{place}/")):
            data = remote.get(name)
            target = safe_join(folder, name.rpartition("/")[2])
            # A journal only grows. What was logged of it since then is counted in our own cursor.
            known = target.stat().st_size if target.exists() else -1
            is_new = known < 0 or (target.suffix == ".journal" and len(data or b"") > known)
            if data is not None and is_new:
                write_atomic(target, data)
            taken.append(name)
    return taken


def drop_leftovers(remote: Remote, spool_root: Path, run: str, names: list[str]) -> None:
    """Remove from the remote, and from here, what `pull_leftovers` named and is logged now."""
    for folder in Path(spool_root).glob(f"{run}{_MARK}*"):
        if not is_waiting(folder):
            remove_tree(folder)
    for name in names:
        helper = name.split("/")[2]
        if not Path(spool_root, f"{run}{_MARK}{helper}").exists():
            remote.delete(name)


def is_foreign(folder: Path) -> bool:
    """Whether a spool folder holds what a helper left: nobody here adds to it."""
    return _MARK in folder.name


def run_of(folder: Path) -> str:
    """Return our id of the flow run that a spool folder is about."""
    return folder.name.partition(_MARK)[0]


def _home_name(spool_root: Path) -> str:
    """Return a name for this home that no other has."""
    place = f"{platform.node()}:{Path(spool_root).resolve()}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]
