"""Which MLflow the records go to, and the connection to it.

A stage's process looks here before it decides where records go; mlflow is imported by `connect`.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.processes.detached import is_alive
from tasks.settings.passwords import without_passwords
from tasks.storage.home import make_private
from tasks.storage.locks import FileLock
from tasks.storage.sealed import read_either
from tasks.storage.sqlite_file import make_beside, set_aside_if_broken
from tasks.tracking.mlflow_record.moved_project import adopt_files

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

_SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # What a command prints is ours.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that is down is tried again at the next look, not for minutes in one call.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_log = logging.getLogger("sparring.tracking")
_KNOCK_SECONDS = 3.0


class DeletedExperimentError(RuntimeError):
    """MLflow takes no records of an experiment that somebody deleted; they wait."""


@dataclass(frozen=True, slots=True)
class TrackingPlace:
    """Where MLflow keeps its records."""

    uri: str
    """A tracking server or a database."""
    artifacts: str | None
    """URI for files; None leaves it to the server."""
    lock: Path
    """Held while the database is being made or migrated."""
    pages: str = ""
    """Where its pages are to be seen, without a password; empty when no server is known."""

    @property
    def is_server(self) -> bool:
        """Whether records go to a server, not straight into a database."""
        return self.uri.startswith(("http://", "https://"))

    def knock(self) -> None:
        """Find out at once whether a server listens.

        Raises:
            OSError: Nobody does.
        """
        if self.is_server:
            parts = urlsplit(self.uri)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname, port), _KNOCK_SECONDS).close()


def server_on_record(home_root: Path) -> str | None:
    """Return the address of the MLflow server that `sparring up` keeps for a state folder, if any.

    It holds no password. A server that nobody would start again does not count.
    """
    try:
        servers = read_either(Path(home_root) / "servers.json")
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


def tracking_place(mlruns: Path, home_root: Path | None = None) -> TrackingPlace:
    """Return the MLflow of `MLFLOW_TRACKING_URI`, else the home's kept server, else a database."""
    folder = Path(mlruns).absolute()
    lock = migration_lock(folder)
    kept = server_on_record(home_root) if home_root is not None else None
    if uri := os.environ.get(_URI) or kept:
        pages = re.sub(r"//[^/@]*@", "//", uri) if uri.startswith("http") else kept or ""
        return TrackingPlace(uri, None, lock, pages.rstrip("/"))
    return TrackingPlace(f"{_SQLITE}{folder}/mlflow.db", (folder / "artifacts").as_uri(), lock)


def connect(place: TrackingPlace) -> MlflowClient:
    """Open MLflow, making or migrating its database once, whoever else starts now."""
    place.knock()
    make_private(place.lock.parent)
    with FileLock(place.lock):
        if not place.is_server and place.artifacts is not None:
            ready_database(Path(place.uri.removeprefix(_SQLITE)))
        return _open(place.uri)


def ready_database(path: Path) -> None:
    """Let MLflow's database at a path be whole; the caller holds `migration_lock`.

    A damaged one is set aside, which a warning says; where there is none it is made, and one that
    was moved or copied names the files beside it.
    """
    if aside := set_aside_if_broken(path, "experiments"):
        _log.warning(
            "mlflow's database was damaged: it is %s now, and a new one begins, which has none of "
            "the records before; the store has all results",
            aside,
        )
    if not path.exists():
        make_beside(path, lambda making: _open(f"{_SQLITE}{making}"))
    adopt_files(path)


def _open(uri: str) -> MlflowClient:
    """Open a place, and see that it answers."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    # Only now: the import sets them.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient(uri)
    client.search_experiments(max_results=1)
    return client


def require_active(experiment: Experiment) -> None:
    """Raise `DeletedExperimentError` if somebody deleted an experiment."""
    if experiment.lifecycle_stage != "active":
        raise DeletedExperimentError(
            f"MLflow's experiment {experiment.name!r} was deleted: `mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}` brings it back"
        )


def tracking_problem(place: TrackingPlace, experiments: Collection[str]) -> str:
    """Return why MLflow takes no records of these experiments; empty where nothing speaks for it.

    Nothing is written: of a database the folder and the file are looked at, and what is in it.
    """
    try:
        if place.uri.startswith(_SQLITE):
            path = Path(place.uri.removeprefix(_SQLITE))
            for one in (path.parent, path):
                if one.exists() and not os.access(one, os.W_OK):
                    return f"{one} cannot be written"
            if not path.exists():
                return "" if path.parent.is_dir() else f"{path.parent} is no folder"
        place.knock()
        client = _open(place.uri)
        for name in sorted(experiments):
            if (found := client.get_experiment_by_name(name)) is not None:
                require_active(found)
    except Exception as error:  # whatever MLflow says
        return problem_of(error)
    return ""


def problem_of(error: Exception) -> str:
    """Return why MLflow takes no records, in a sentence without passwords."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    said = without_passwords(str(error)).splitlines()
    return said[0] if said else type(error).__name__


@contextmanager
def as_global(place: TrackingPlace) -> Iterator[None]:
    """Make a database the one that MLflow's own code finds by itself.

    Its registry looks a model up that way. A server does so by itself.
    """
    if place.is_server or os.environ.get(_URI) == place.uri:
        yield
        return
    given = os.environ.get(_URI)
    os.environ[_URI] = place.uri
    try:
        yield
    finally:
        if given is None:
            del os.environ[_URI]
        else:
            os.environ[_URI] = given
