"""A project that was moved or copied: the records of its database name the files beside it again.

MLflow writes the absolute place of its files into its database once, and has no way to change it. A
copy would write into the project that it was made from, and a moved one where nothing is.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_PLACES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def adopt_files(database: Path) -> None:
    """Let the records of MLflow's database name the folder `artifacts` beside it.

    Only what names a folder elsewhere that lies here too is changed; the caller holds
    `migration_lock`.
    """
    artifacts = database.with_name("artifacts")
    own = artifacts.as_uri()
    with closing(sqlite3.connect(database)) as connection, connection:
        found = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
        for old in {
            place.removesuffix(f"/{name}")
            for name, place in found
            if place.endswith(f"/artifacts/{name}") and (artifacts / name).is_dir()
        } - {own}:
            for table, column in _PLACES.items():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (own, len(old) + 1, len(old) + 1, f"{old}/"),
                )
