"""Which MLflow server this state folder has, read from what `sparring up` wrote down.

A stage's process looks here before it decides where records go.
"""

from __future__ import annotations

from pathlib import Path

from tasks.processes.detached import is_alive
from tasks.storage.files import read_json


def server_on_record(home_root: Path) -> str | None:
    """Return the address of the MLflow server that `sparring up` keeps for a state folder.

    Args:
        home_root: the state folder, `Home.root`.

    Returns:
        Its URL without a password; None when there is none, or nobody would start it again.
    """
    try:
        servers = read_json(Path(home_root) / "servers.json")
    except FileNotFoundError:
        return None
    record = servers.get("mlflow", {})
    # While it is being started again its supervisor lives; to write elsewhere meanwhile would tear
    # the records of one run apart.
    if is_alive(record) or (record.get("persistent") and is_alive(servers.get("supervisor", {}))):
        return str(record["url"])
    return None


def migration_lock(mlruns: Path) -> Path:
    """Return the lock that is held while MLflow's database in `mlruns` is made or migrated."""
    return Path(mlruns).absolute() / ".migrate.lock"
