"""A database of SQLite that another library makes: whole before it has its name, or set aside.

Prefect and MLflow make theirs by dozens of migrations, which take seconds. One that is killed in
between is neither empty nor whole, and every later start fails at it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tasks.storage.durable import rename, sync_directory, sync_file

_BESIDE = ("-wal", "-shm", "-journal")
_DAMAGED = ".damaged-"


def make_beside(path: Path, make: Callable[[Path], object]) -> None:
    """Have a database made under another name, and give it its own when it is whole.

    The caller holds a lock. What a killed call left is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{path.name}.making")
    for left in _files(making):
        left.unlink(missing_ok=True)
    make(making)
    with closing(sqlite3.connect(making)) as connection:
        # Into the one file that gets the name.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sync_file(making)
    rename(making, path)
    sync_directory(path.parent)


def set_aside_if_broken(path: Path, filled: str = "alembic_version") -> Path | None:
    """Give a database that is damaged, or was never whole, another name; nothing is deleted.

    Args:
        path: The database; that it is missing is no damage.
        filled: A table that has a row in every whole one; without it migrations were cut off.

    Returns:
        Its new name; None where nothing was wrong.
    """
    if not path.exists() or _is_sound(path, filled):
        return None
    aside = path.with_name(f"{path.name}{_DAMAGED}{time.strftime('%Y%m%dT%H%M%S')}")
    for file in _files(path):
        if file.exists():
            rename(file, aside.with_name(file.name.replace(path.name, aside.name, 1)))
    sync_directory(path.parent)
    return aside


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + end) for end in _BESIDE)]


def _is_sound(path: Path, filled: str) -> bool:
    """Whether SQLite finds nothing wrong; one that is locked by its user for long is sound."""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return False
            has_row = connection.execute(f'SELECT 1 FROM "{filled}" LIMIT 1').fetchone()
            return has_row is not None
    except sqlite3.DatabaseError as error:
        return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
